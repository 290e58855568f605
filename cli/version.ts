import { createRequire } from 'node:module';

/** The package's version: one folder up, from the sources and from the bundle alike. */
export function version(): string {
  return (createRequire(import.meta.url)('../package.json') as { version: string }).version;
}
