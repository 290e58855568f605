/** `npm run bench -- <name>`: measures against the budgets; exits 1 when one is missed. CI does not run it. */
import { type Figure, report } from './figures.ts';

/** Each brings what it needs, and what another needs stays away from what is measured. */
const BENCHES: Readonly<Record<string, () => Promise<Figure[]>>> = {
  gateway: async () => (await import('./gateway.ts')).benchGateway(),
  masking: async () => (await import('./masking.ts')).benchMasking(),
  mcp: async () => (await import('./mcp.ts')).benchMcp(),
  postgres: async () => (await import('./postgres.ts')).benchPostgres(),
};

async function main(): Promise<number> {
  const name = process.argv[2] ?? '';
  const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
  if (!bench) {
    console.error(`Which one? npm run bench -- ${Object.keys(BENCHES).join(' | ')}`);
    return 2;
  }
  return report(name, await bench()) ? 0 : 1;
}

process.exitCode = await main();
