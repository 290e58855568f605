/** `countersign gateway --join`: runs an edge until a signal ends it; `countersign gateway check --join` reads what it would be told. */
import { Problem } from '../../../contract/problem.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import type { Env } from '../../config/load.ts';
import { type EdgeArguments, loadEdgeConfig } from './config.ts';
import { Edge } from './edge.ts';

interface Out {
  readonly out: (line: string) => void;
  readonly error: (line: string) => void;
}

/** How long a gateway that cannot be reached is waited for before joining is tried again, in milliseconds. */
const JOIN_AGAIN_MS = 5_000;

/** @returns the exit code */
export function checkEdge(args: EdgeArguments, env: Env, { out, error }: Out): 0 | 1 {
  const result = loadEdgeConfig(args, env);
  if (!result.ok) {
    for (const { file, line, message } of result.problems) error(`${file}:${line}: ${message}`);
    return 1;
  }
  const { allow, data, gateway, listen } = result.config;
  out(`The configuration is good: an edge of ${gateway.origin}, its key in ${data}, health ${listen === 'off' ? 'not served' : `on ${listen}`}.`);
  out(`It lets itself be led to ${allow.map(({ text }) => text).join(', ')}, and nowhere else.`);
  return 0;
}

/** @returns the exit code */
export async function runEdge(args: EdgeArguments, env: Env, version: string, log: Log, { error }: Out): Promise<0 | 1> {
  const result = loadEdgeConfig(args, env);
  if (!result.ok) {
    for (const { file, line, message } of result.problems) error(`${file}:${line}: ${message}`);
    return 1;
  }
  const told = new AbortController();
  const signal = new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const)
      process.once(name, () => {
        told.abort();
        resolve(name);
      });
  });
  process.on('uncaughtException', (cause) => {
    log.error('edge.crashed', { cause });
    process.exit(1);
  });
  process.on('unhandledRejection', (cause) => {
    log.error('edge.crashed', { cause });
    process.exit(1);
  });
  let edge: Edge | undefined;
  while (!edge && !told.signal.aborted) {
    try {
      edge = await Edge.start({ config: result.config, env, version, log });
    } catch (cause) {
      log.error('edge.not-started', { cause });
      const passes = cause instanceof Problem && /^(gateway-(unreachable|certificate|proxy)|store-down|too-many|draining)$/.test(cause.code);
      error(cause instanceof Problem ? cause.message : 'The edge could not start because of a fault in it. Its log says more.');
      if (!passes) return 1;
      await Promise.race([signal, new Promise((resolve) => setTimeout(resolve, JOIN_AGAIN_MS))]);
    }
  }
  await edge?.stop(`told to (${await signal})`);
  return 0;
}
