/** Serves the console: one page and its files, from memory. What it shows it asks the API for, like any other client. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Response, Router } from 'express';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';

/** Each file that the page loads, and what it is. */
const FILES = {
  'console.js': 'text/javascript; charset=utf-8',
  'codicon.css': 'text/css; charset=utf-8',
  'codicon.ttf': 'font/ttf',
} as const;

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types lit-html',
].join('; ');

const PAGE = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<title>Countersign</title>
<link rel="stylesheet" href="/console/codicon.css" id="vscode-codicon-stylesheet">
<script type="module" src="/console/console.js"></script>
</head>
<body></body>
</html>
`;

/** Beside the bundle, or where the build puts it when the sources run as they are. */
function folder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  return [join(here, 'console'), join(here, '..', '..', 'dist', 'console')].find((path) => existsSync(join(path, 'console.js'))) ?? join(here, 'console');
}

/** Where the page was not built, the rest of the gateway works, and its address says so. */
export function consoleRouter(log: Log, from: string = folder()): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const files = new Map<string, Buffer>();
  try {
    for (const name of Object.keys(FILES)) files.set(name, readFileSync(join(from, name)));
  } catch (cause) {
    log.error('console.missing', { folder: from, cause });
    router.get('/', () => {
      throw new Problem('no-console', 'This gateway was built without its console.');
    });
    return router;
  }
  router.get('/', (_request, response) => {
    response.setHeader('Content-Security-Policy', POLICY);
    response.type('html').send(PAGE);
  });
  for (const [name, type] of Object.entries(FILES)) {
    router.get(`/console/${name}`, (_request, response: Response) => {
      response.type(type).send(files.get(name));
    });
  }
  return router;
}
