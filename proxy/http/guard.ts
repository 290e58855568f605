/** The first thing that looks at a request on the loopback server: who may be talking to it at all. */

/** Of a request, what is looked at: Node's, or one that we have read ourselves. */
export interface Head {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** Names as they were written, and values, in turn. */
  readonly rawHeaders: readonly string[];
}

export interface GuardOptions {
  readonly port: number;
  /** Origins that may call, exactly as a browser sends them. None by default: no web page has business here. */
  readonly allowedOrigins: readonly string[];
}

export interface Rejection {
  readonly status: 400 | 401 | 403 | 405 | 415 | 421;
  readonly message: string;
}

const METHODS: ReadonlySet<string | undefined> = new Set(['GET', 'POST', 'DELETE']);

/**
 * Looks at the raw headers, since Node joins or drops repeated ones. A web page that rebinds its own name to 127.0.0.1
 * is told apart by Host, one that calls across origins by Origin or Sec-Fetch-Site.
 */
export function rejection(request: Head, options: GuardOptions): Rejection | undefined {
  const { port, allowedOrigins } = options;
  const hosts = headerValues(request, 'host');
  if (hosts.length !== 1 || (hosts[0] !== `127.0.0.1:${port}` && hosts[0] !== `localhost:${port}`)) {
    return { status: 421, message: 'This server answers only to its own loopback address.' };
  }
  const origins = headerValues(request, 'origin');
  if (origins.length > 1 || origins.some((origin) => !allowedOrigins.includes(origin))) {
    return { status: 403, message: 'Web pages may not call this server.' };
  }
  const sites = headerValues(request, 'sec-fetch-site');
  if (origins.length === 0 && sites.some((site) => site !== 'none')) return { status: 403, message: 'Web pages may not call this server.' };
  if (!METHODS.has(request.method)) return { status: 405, message: 'Only GET, POST and DELETE are answered.' };
  // An absolute or authority form would let a path check and a router read two different targets.
  if (!request.url?.startsWith('/')) return { status: 400, message: 'The request target must be a path.' };
  if (request.method === 'POST' && !isJson(headerValues(request, 'content-type'))) {
    return { status: 415, message: 'A request body must be application/json.' };
  }
  return undefined;
}

/** The one bearer token of a request; undefined where there is none, or more than one. */
export function bearerOf(request: Head): string | undefined {
  const [value, ...others] = headerValues(request, 'authorization');
  if (value === undefined || others.length > 0) return undefined;
  return /^Bearer ([A-Za-z0-9._~+/-]{1,200}=*)$/i.exec(value)?.[1];
}

/** `application/json` itself: a type that a web page can send without asking first would get past the browser's check. */
function isJson(types: readonly string[]): boolean {
  return types.length === 1 && /^application\/json(?:\s*;\s*charset="?utf-8"?)?$/i.test(types[0] ?? '');
}

function headerValues(request: Head, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    if (request.rawHeaders[i]?.toLowerCase() === name) values.push(request.rawHeaders[i + 1] ?? '');
  }
  return values;
}
