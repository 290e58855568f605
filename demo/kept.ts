/** What the demo chose at its first start and keeps: ports, so that addresses stay valid, and the passwords of its own servers. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './freePort.ts';

export interface Kept {
  readonly databasePort: number;
  readonly editorPort: number;
  readonly adminPassword: string;
  readonly loginPassword: string;
  readonly secondEditorPort: number;
  readonly gatewayPort: number;
  readonly identityPort: number;
  /** The gateway's own login at the database, and its own secret at the identity provider. */
  readonly gatewayPassword: string;
  readonly identitySecret: string;
}

/** A folder that an earlier version left gets what it lacks. */
export async function keep(folder: string): Promise<Kept> {
  const file = join(folder, 'kept.json');
  const found = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Partial<Kept>) : {};
  const password = (): string => randomBytes(18).toString('base64url');
  const kept: Kept = {
    databasePort: found.databasePort ?? (await freePort()),
    editorPort: found.editorPort ?? (await freePort()),
    adminPassword: found.adminPassword ?? password(),
    loginPassword: found.loginPassword ?? password(),
    secondEditorPort: found.secondEditorPort ?? (await freePort()),
    gatewayPort: found.gatewayPort ?? (await freePort()),
    identityPort: found.identityPort ?? (await freePort()),
    gatewayPassword: found.gatewayPassword ?? password(),
    identitySecret: found.identitySecret ?? password(),
  };
  if (JSON.stringify(found) !== JSON.stringify(kept)) writeFileSync(file, JSON.stringify(kept), { mode: 0o600 });
  return kept;
}
