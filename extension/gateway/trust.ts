/** Calls to a gateway whose certificate is by an authority that the settings name, beside the usual ones. No editor in here. */
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import { Problem } from '../../contract/problem.ts';

export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** Answers that have no body by their status (Fetch, 2.2.3). */
const WITHOUT_BODY = new Set([101, 204, 205, 304]);

/** @param ca path of a PEM file; read at each call, so that a file that is mended counts at once. @throws Problem `gateway-certificate` */
export function trusting(ca: string | undefined): Fetch {
  if (ca === undefined) return (url, init) => fetch(url, init);
  return async (url, init) => {
    const asked = new Request(url, init);
    if (!asked.url.startsWith('https:')) return await fetch(asked);
    const body = Buffer.from(await asked.arrayBuffer());
    const response = await send(asked, body, authorities(ca));
    const status = response.statusCode ?? 0;
    if (init?.redirect === 'error' && status >= 300 && status < 400 && response.headers.location !== undefined) {
      response.destroy();
      throw new TypeError('a redirect where none is followed');
    }
    const headers = new Headers();
    for (const [name, value] of Object.entries(response.headers)) for (const one of [value ?? []].flat()) headers.append(name, one);
    return new Response(WITHOUT_BODY.has(status) ? null : (Readable.toWeb(response) as ReadableStream), { status, headers });
  };
}

function send(asked: Request, body: Buffer, ca: readonly string[]): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = requestHttps(
      asked.url,
      {
        method: asked.method,
        headers: { ...Object.fromEntries(asked.headers), ...(body.length > 0 && { 'content-length': body.length }) },
        ca: [...ca],
        signal: asked.signal,
        // A connection of before would have been checked against the authorities of before.
        agent: false,
      },
      resolve,
    );
    sent.once('error', reject);
    sent.end(body);
  });
}

function authorities(file: string): readonly string[] {
  try {
    return [...rootCertificates, readFileSync(file, 'utf8')];
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new Problem('gateway-certificate', `The file with the gateway's authority, ${file}, cannot be read (${code}). Check \`countersign.gateway.ca\`.`, {
      cause,
    });
  }
}
