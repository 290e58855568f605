/** Enough of a browser for signing in: cookies by host, redirects one at a time, forms. */

export interface Visit {
  readonly url: string;
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>();
  /** Where it was sent and does not go by itself: an editor's own address. */
  stopped: string | undefined;

  cookies(host: string): ReadonlyMap<string, string> {
    return this.#cookies.get(host) ?? new Map();
  }

  /** Follows redirects until a page, or an address that `stopAt` names. */
  async open(url: string, init: RequestInit = {}, stopAt: (url: URL) => boolean = () => false): Promise<Visit> {
    let next = new URL(url);
    let request = init;
    for (let hop = 0; hop < 20; hop++) {
      if (stopAt(next) || !next.protocol.startsWith('http')) {
        this.stopped = next.href;
        return { url: next.href, status: 0, text: '', headers: new Headers() };
      }
      const jar = this.#cookies.get(next.host) ?? new Map<string, string>();
      this.#cookies.set(next.host, jar);
      const response = await fetch(next, {
        ...request,
        redirect: 'manual',
        headers: {
          ...(request.headers as Record<string, string> | undefined),
          ...(jar.size > 0 && { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') }),
        },
      });
      for (const line of response.headers.getSetCookie()) {
        const [pair = '', ...attributes] = line.split(';');
        const cut = pair.indexOf('=');
        const expired = attributes.some((attribute) => /expires=.*1970/i.test(attribute));
        if (expired) jar.delete(pair.slice(0, cut));
        else jar.set(pair.slice(0, cut), pair.slice(cut + 1));
      }
      const location = response.headers.get('location');
      if (location === null || response.status < 300 || response.status >= 400)
        return { url: next.href, status: response.status, text: await response.text(), headers: response.headers };
      await response.body?.cancel();
      next = new URL(location, next);
      request = {};
    }
    throw new Error('too many redirects');
  }

  /** Signs a client in, as a person does who has just asked for it: through the provider, and on with "Allow". */
  async allow(url: string, stopAt?: (url: URL) => boolean): Promise<Visit> {
    const page = await this.open(url);
    return page.text.includes('Sign the editor in?') ? await this.submit(page, { answer: 'allow' }, stopAt) : page;
  }

  /** Presses a button of the first form on a page. */
  async submit(page: Visit, fields: Readonly<Record<string, string>>, stopAt?: (url: URL) => boolean): Promise<Visit> {
    const action = /<form[^>]*\baction="([^"]+)"/i.exec(page.text)?.[1] ?? page.url;
    const hidden = Object.fromEntries(
      [...page.text.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/gi)].map(([, name, value]) => [name ?? '', unescape(value ?? '')]),
    );
    return await this.open(new URL(unescape(action), page.url).href, { method: 'POST', body: new URLSearchParams({ ...hidden, ...fields }) }, stopAt);
  }
}

function unescape(html: string): string {
  return html
    .replaceAll(/&#(x?)([0-9a-f]+);/gi, (_, hex: string, code: string) => String.fromCharCode(Number.parseInt(code, hex ? 16 : 10)))
    .replaceAll('&amp;', '&')
    .replaceAll('&quot;', '"');
}
