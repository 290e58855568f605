/** Entry point of the gateway: `countersign gateway` runs it, `countersign gateway check` reads its configuration. */
import { existsSync } from 'node:fs';
import { Problem } from '../contract/problem.ts';
import { compileSooner } from '../proxy/daemon/tiering.ts';
import { logLine } from '../proxy/log.ts';
import type { Log } from '../proxy/pipeline/engine.ts';
import { findingsOf } from './check.ts';
import { type Env, loadConfig } from './config/load.ts';
import { Gateway } from './gateway.ts';
import { keyFile, masterKey, oldMasterKeys } from './sealed.ts';

export { openEdges } from './edge/admin.ts';
export { checkEdge, runEdge } from './edge/process/main.ts';
export { openRecords } from './records.ts';
export { openSecrets } from './secrets.ts';

/** Read where no `--config` says otherwise, if it is there. */
const DEFAULT_CONFIG = '/etc/countersign/gateway.yaml';

interface Out {
  readonly out: (line: string) => void;
  readonly error: (line: string) => void;
}

export function configFile(asked: string | undefined, env: Env): string | undefined {
  return asked ?? env.COUNTERSIGN_GATEWAY_CONFIG ?? (existsSync(DEFAULT_CONFIG) ? DEFAULT_CONFIG : undefined);
}

/** Says what is wrong with a configuration, or that nothing is. @returns the exit code */
export function checkGateway(file: string | undefined, env: Env, { out, error }: Out): 0 | 1 {
  const result = loadConfig(file, env);
  if (!result.ok) {
    for (const problem of result.problems) error(`${problem.file}:${problem.line}: ${problem.message}`);
    return 1;
  }
  const { config } = result;
  try {
    // The embedded store's is made by the first start, as the user that it runs as.
    if (config.key !== undefined || config.database.kind !== 'embedded' || existsSync(keyFile(config))) masterKey(config, env);
    oldMasterKeys(config, env);
  } catch (cause) {
    error(cause instanceof Problem ? cause.message : 'The key cannot be read.');
    return 1;
  }
  out(
    `The configuration is good: ${config.publicUrl}, listening on ${config.listen}, ${config.database.kind === 'embedded' ? `embedded store in ${config.data}` : 'PostgreSQL'}.`,
  );
  if (config.identity.providers.length === 0) out('Nobody can sign in yet: `identity.providers` is empty.');
  return 0;
}

/** Tries what the configuration names, and says what does not work. @returns the exit code */
export async function checkPlaces(file: string | undefined, env: Env, { out, error }: Out): Promise<0 | 1> {
  const result = loadConfig(file, env);
  if (!result.ok) return 1;
  const findings = await findingsOf(result.config, env);
  for (const { good, sentence } of findings) (good ? out : error)(sentence);
  return findings.every(({ good }) => good) ? 0 : 1;
}

/** Runs until a signal ends it. @returns the exit code */
export async function runGateway(file: string | undefined, env: Env, version: string, { error }: Out): Promise<0 | 1> {
  const result = loadConfig(file, env);
  if (!result.ok) {
    for (const problem of result.problems) error(`${problem.file}:${problem.line}: ${problem.message}`);
    return 1;
  }
  const log = streamLog();
  // Before anything else: who is told to stop while starting stops once it has started.
  const signal = new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  let gateway: Gateway;
  try {
    gateway = await Gateway.start({ config: result.config, env, version, log });
  } catch (cause) {
    log.error('gateway.not-started', { cause });
    error(cause instanceof Problem ? cause.message : 'The gateway could not start because of a fault in it. Its log says more.');
    return 1;
  }
  compileSooner();
  process.on('uncaughtException', (cause) => {
    log.error('gateway.crashed', { cause });
    process.exit(1);
  });
  process.on('unhandledRejection', (cause) => {
    log.error('gateway.crashed', { cause });
    process.exit(1);
  });
  await gateway.stop(`told to (${await signal})`);
  return 0;
}

/** JSON lines on standard output, where whoever runs containers looks for them. */
export function streamLog(write: (line: string) => void = (line) => void process.stdout.write(line)): Log {
  const say =
    (level: string) =>
    (event: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      write(`${logLine(Date.now(), level, event, fields)}\n`);
  return { info: say('info'), warn: say('warn'), error: say('error') };
}
