/** A listener on loopback for one answer of the browser (RFC 8252): any port, one path, and a page that says to go back. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

const PATH = '/callback';

export interface Loopback {
  /** `http://127.0.0.1:PORT/callback` */
  readonly address: string;
  /** The first answer that carries this state; others are told off and change nothing. */
  answer(state: string): Promise<URL>;
  close(): void;
}

export async function listenForAnswer(page: { readonly title: string; readonly done: string; readonly stranger: string }): Promise<Loopback> {
  let wanted: string | undefined;
  const { promise, resolve } = Promise.withResolvers<URL>();
  const server: Server = createServer((request, response) => {
    const url = URL.canParse(request.url ?? '', 'http://127.0.0.1') ? new URL(request.url ?? '', 'http://127.0.0.1') : undefined;
    response.setHeader('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'");
    response.setHeader('Connection', 'close');
    response.setHeader('Cache-Control', 'no-store');
    if (request.method !== 'GET' || url?.pathname !== PATH) return void response.writeHead(404).end();
    const ours = wanted !== undefined && url.searchParams.get('state') === wanted;
    response.writeHead(ours ? 200 : 400, { 'content-type': 'text/html; charset=utf-8' });
    response.end(pageText(page.title, ours ? page.done : page.stranger));
    if (ours) resolve(url);
  });
  server.headersTimeout = 10_000;
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen(0, '127.0.0.1', done);
  });
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}${PATH}`,
    answer: (state) => {
      wanted = state;
      return promise;
    },
    close: () => {
      server.close();
      // What is being answered right now may finish.
      setTimeout(() => server.closeAllConnections(), 1_000).unref();
    },
  };
}

function pageText(title: string, words: string): string {
  const safe = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${safe(title)}</title><style>body{font:16px system-ui;margin:15vh auto;max-width:30rem;padding:0 1rem;color-scheme:light dark}</style><h1>${safe(title)}</h1><p>${safe(words)}</p>`;
}
