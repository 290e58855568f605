/**
 * Entry point of the bridge that a rewritten MCP entry starts: `countersign-mcp <connection>`. It lies in `bin/` of the
 * proxy's state folder and finds the proxy from there, so that nothing need be in its environment.
 */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { askForAccess } from './http/bridgeAccess.ts';
import { carryFor } from './http/stdioBridge.ts';

async function main([name, ...rest]: readonly string[]): Promise<void> {
  if (name === undefined || rest.length > 0) return fail('Usage: countersign-mcp <connection>');
  const state = dirname(dirname(fileURLToPath(import.meta.url)));
  const run = String(process.ppid);
  const access = await askForAccess(state, run);
  if (access === undefined) return fail('Countersign does not run. Open an editor window with it; until then this server cannot be reached.');
  await carryFor(name, access, () => askForAccess(state, run));
  // A connection that is kept alive must not keep the bridge.
  process.exit(0);
}

function fail(sentence: string): void {
  process.exitCode = 1;
  process.stderr.write(`${sentence}\n`);
}

void main(process.argv.slice(2)).catch((cause: unknown) => fail(`Countersign's bridge failed: ${cause instanceof Error ? cause.message : 'unknown error'}`));
