/** What the roles and schemas of one proxy run are called, and how names and texts stand in SQL. */
import { createHash, randomBytes } from 'node:crypto';

/** By this a database's owner knows them. */
export const PREFIX = 'countersign_';
const TAG_CHARS = 10;
const RUN_BYTES = 4;
const SESSION_BYTES = 8;
const FINGERPRINT_CHARS = 8;

export type RoleUse = 'session' | 'owner' | 'grants';
const LETTERS: Readonly<Record<RoleUse, string>> = { session: 's', owner: 'o', grants: 'g' };

/** One run of one proxy on one database. Roles are the cluster's, so the database is part of the tag. */
export class RunNames {
  /** `countersign_TAG_`: everything of this installation in this database. */
  readonly ours: string;
  readonly run: string;

  constructor(installation: string, database: string) {
    const tag = createHash('sha256')
      .update(JSON.stringify([installation, database]))
      .digest('hex')
      .slice(0, TAG_CHARS);
    this.ours = `${PREFIX}${tag}_`;
    this.run = randomBytes(RUN_BYTES).toString('hex');
  }

  get prefix(): string {
    return `${this.ours}${this.run}_`;
  }

  session(): string {
    return `${this.prefix}${LETTERS.session}${randomBytes(SESSION_BYTES).toString('hex')}`;
  }

  role(use: 'owner' | 'grants', fingerprint: string): string {
    return `${this.prefix}${LETTERS[use]}${fingerprint.slice(0, FINGERPRINT_CHARS)}`;
  }

  schema(fingerprint: string, index: number): string {
    return `${this.prefix}m${fingerprint.slice(0, FINGERPRINT_CHARS)}_${index}`;
  }

  /** Of a role or schema of this installation: whose run it belongs to, and whether it is a session's. */
  read(name: string): { readonly run: string; readonly session: boolean } | undefined {
    if (!name.startsWith(this.ours)) return undefined;
    const match = /^([0-9a-f]{8})_([sogm])[0-9a-f_]+$/.exec(name.slice(this.ours.length));
    return match ? { run: match[1] ?? '', session: match[2] === LETTERS.session } : undefined;
  }

  /** Key of the advisory lock that a run holds for as long as it lives, as SQL. */
  lockKey(run: string): string {
    return createHash('sha256').update(`${this.ours}${run}`).digest().readBigInt64BE(0).toString();
  }
}

export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function qualified(relation: { readonly schema: string; readonly name: string }): string {
  return `${identifier(relation.schema)}.${identifier(relation.name)}`;
}

/** Right whatever `standard_conforming_strings` says. */
export function literal(text: string): string {
  return ` E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

export function textArray(texts: readonly string[]): string {
  return texts.length === 0 ? "'{}'::pg_catalog.text[]" : `array[${texts.map(literal).join(',')}]::pg_catalog.text[]`;
}
