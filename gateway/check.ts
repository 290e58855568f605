/** Tries what a configuration names outside itself: secrets, files, the store, identity providers, the archive, AWS. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Problem } from '../contract/problem.ts';
import { loadPolicy } from '../proxy/policy/load.ts';
import { readCertificate } from './api/httpServer.ts';
import { type Env, type GatewayConfig, readSecret } from './config/load.ts';
import { SecretPlace } from './config/words.ts';
import { keysFor } from './credential/keys.ts';
import { OidcLogin } from './identity/oidc.ts';
import type { Finding } from './recording/objects/objectStore.ts';
import { openPlaces } from './recording/objects/open.ts';
import { openPostgres } from './store/postgres.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

export async function findingsOf(config: GatewayConfig, env: Env): Promise<Finding[]> {
  const missing = [...secretsIn(config)].flatMap(({ path, place }) => failure(() => readSecret(place, env), `\`${path}\`: `));
  return [...missing, ...tlsOf(config), ...policyOf(config), ...(await storeOf(config)), ...(await providersOf(config, env)), ...(await placesOf(config, env))];
}

function* secretsIn(value: unknown, path = ''): Generator<{ path: string; place: string }> {
  if (typeof value === 'string' && SecretPlace.safeParse(value).success) yield { path, place: value };
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) yield* secretsIn(inner, path === '' ? key : `${path}.${key}`);
}

function tlsOf({ tls }: GatewayConfig): Finding[] {
  return typeof tls === 'object' ? failure(() => readCertificate(tls)) : [];
}

function policyOf({ policy: { file } }: GatewayConfig): Finding[] {
  if (file === undefined) return [];
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    return [{ good: false, sentence: `\`policy.file\`: ${file} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'}).` }];
  }
  const loaded = loadPolicy([{ layer: 'organisation', file, text }], { gateway: true });
  return loaded.ok ? [] : loaded.problems.map(({ column, line, message }) => ({ good: false, sentence: `${file}:${line}:${column}: ${message}` }));
}

async function storeOf({ database }: GatewayConfig): Promise<Finding[]> {
  if (database.kind === 'embedded') return [];
  const db = openPostgres({ url: database.url.reveal(), log: quiet, maxConnections: 1 });
  try {
    await db.query('SELECT 1');
    return [];
  } catch (cause) {
    return [{ good: false, sentence: `The database cannot be used: ${reason(cause)}. Check \`database\`.` }];
  } finally {
    await db.close().catch(() => undefined);
  }
}

/** Reads the description of each, as the first sign-in would. */
async function providersOf({ identity, publicUrl }: GatewayConfig, env: Env): Promise<Finding[]> {
  return await Promise.all(
    identity.providers.map(async (settings) => {
      const back = `${publicUrl}/login/${settings.id}/${settings.kind === 'oidc' ? 'callback' : 'acs'}`;
      const good = { good: true, sentence: `People sign in at ${settings.id}, which must know the address ${back}.` };
      if (settings.kind === 'saml') return good;
      try {
        await new OidcLogin({ settings, redirectUri: back, clockSkew: identity.clockSkew, env, log: quiet }).metadata();
        return good;
      } catch (cause) {
        // That its secret is missing has been said.
        if (cause instanceof Problem && cause.code === 'secret-missing') return good;
        return {
          good: false,
          sentence: `${settings.id} does not describe itself at ${settings.issuer} (${reason(cause)}). Check \`issuer\`: letter by letter what the provider calls itself.`,
        };
      }
    }),
  );
}

async function placesOf(config: GatewayConfig, env: Env): Promise<Finding[]> {
  const findings: Finding[] = [];
  // The gateway makes its own folder when it starts, as the user that it runs as.
  if (config.recordings.s3 || config.recordings.folder !== undefined) {
    const { archive } = openPlaces(config, env);
    const found = (await archive?.check()) ?? [];
    findings.push(...found);
    if (found.every(({ good }) => good))
      findings.push({ good: true, sentence: `Records of ended sessions go to ${archive?.title}: what was written there could be read back and removed.` });
  }
  if (config.aws.kms) findings.push(await kmsOf(config, env));
  return findings;
}

async function kmsOf(config: GatewayConfig, env: Env): Promise<Finding> {
  try {
    const keys = keysFor(config, env, undefined);
    const key = randomBytes(32);
    const { kek, wrapped } = await keys.wrap(key);
    if (!key.equals(await keys.unwrap(kek, wrapped))) return { good: false, sentence: 'AWS KMS opened something else than it sealed.' };
    return { good: true, sentence: `AWS KMS seals and opens with ${kek.replace(/^kms:/, '')}.` };
  } catch (cause) {
    return { good: false, sentence: cause instanceof Problem ? cause.message : String(cause) };
  }
}

function failure(work: () => unknown, before = ''): Finding[] {
  try {
    work();
    return [];
  } catch (cause) {
    return [{ good: false, sentence: `${before}${cause instanceof Problem ? cause.message : reason(cause)}` }];
  }
}

/** What is at the bottom of it, in its own words. */
function reason(cause: unknown): string {
  let last = cause;
  while (last instanceof Error && last.cause instanceof Error) last = last.cause;
  if (last instanceof AggregateError && last.errors[0] instanceof Error) last = last.errors[0];
  return last instanceof Error ? last.message || last.name : String(last);
}
