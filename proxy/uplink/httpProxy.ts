/** Which HTTP proxy a connection goes through, as the environment says: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, either case. */
import { BlockList, isIP } from 'node:net';
import { Problem } from '../../contract/problem.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** @returns undefined where it goes straight. @throws Problem `gateway-proxy` where the variable makes no sense */
export function proxyFor(target: URL, env: Environment): URL | undefined {
  const text = variable(env, target.protocol === 'ws:' || target.protocol === 'http:' ? 'HTTP_PROXY' : 'HTTPS_PROXY') ?? variable(env, 'ALL_PROXY');
  if (text === undefined || goesStraight(target, variable(env, 'NO_PROXY') ?? '')) return undefined;
  try {
    const url = new URL(text.includes('://') ? text : `http://${text}`);
    if ((url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== '') return url;
  } catch {
    // Said below, without the text: it may hold a password.
  }
  throw new Problem(
    'gateway-proxy',
    'HTTPS_PROXY is not the address of an HTTP proxy. Write http://HOST:PORT, or remove the variable, then restart the editor.',
  );
}

/** `Proxy-Authorization` for the login in a proxy's address. */
export function proxyLogin(proxy: URL): string | undefined {
  if (proxy.username === '' && proxy.password === '') return undefined;
  return `Basic ${Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString('base64')}`;
}

function variable(env: Environment, name: string): string | undefined {
  return env[name.toLowerCase()] || env[name] || undefined;
}

/** `*`, `example.com` and what is below it, `.example.com`, `host:port`, addresses and networks (`10.0.0.0/8`). */
function goesStraight(target: URL, list: string): boolean {
  const host = target.hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  const port = target.port || (target.protocol === 'ws:' || target.protocol === 'http:' ? '80' : '443');
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => matches(entry.toLowerCase(), host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  const family = isIP(host);
  const [network = '', bits] = entry.split('/');
  if (bits !== undefined) {
    const of = isIP(network);
    if (family === 0 || of !== family || !/^\d{1,3}$/.test(bits) || Number(bits) > (of === 4 ? 32 : 128)) return false;
    const list = new BlockList();
    list.addSubnet(network, Number(bits), of === 4 ? 'ipv4' : 'ipv6');
    return list.check(host, family === 4 ? 'ipv4' : 'ipv6');
  }
  if (isIP(entry) !== 0) return entry === host;
  const [, name = '', only] = /^(.*?)(?::(\d{1,5}))?$/.exec(entry) ?? [];
  if (only !== undefined && only !== port) return false;
  const suffix = name.replace(/^\*?\.?/, '');
  return suffix !== '' && (host === suffix || (family === 0 && host.endsWith(`.${suffix}`)));
}
