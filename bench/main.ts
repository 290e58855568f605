/** `npm run bench -- <name>`: measures against the budgets; exits 1 when one is missed. CI does not run it. */
import { report } from './figures.ts';
import { benchGateway } from './gateway.ts';
import { benchMcp } from './mcp.ts';
import { benchPostgres } from './postgres.ts';

const BENCHES = { gateway: benchGateway, mcp: benchMcp, postgres: benchPostgres } as const;

async function main(): Promise<number> {
  const name = process.argv[2] ?? '';
  if (!Object.hasOwn(BENCHES, name)) {
    console.error(`Which one? npm run bench -- ${Object.keys(BENCHES).join(' | ')}`);
    return 2;
  }
  const figures = await BENCHES[name as keyof typeof BENCHES]();
  return report(name, figures) ? 0 : 1;
}

process.exitCode = await main();
