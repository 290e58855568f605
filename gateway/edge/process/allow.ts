/**
 * Where an edge lets itself be led: a list in its own configuration, which no gateway can change. What is not on it is not
 * connected to, whoever asks; a name is looked up once, and what was checked is what is connected to.
 */
import { lookup as systemLookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { isForbidden } from '../../../proxy/protocols/mcp/upstream/addresses.ts';

/** `HOST:PORT`, where HOST is a name, `*.SUFFIX`, an address, a network, or the folder of a Unix socket. */
export interface AllowRule {
  readonly text: string;
  readonly kind: 'name' | 'suffix' | 'network' | 'socket';
  readonly host: string;
  readonly network?: BlockList;
  readonly ports: readonly [number, number];
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What is connected to. */
export type Place = { readonly path: string } | { readonly host: string; readonly port: number };

export type Lookup = (name: string) => Promise<readonly string[]>;

const NAME = /^(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/;
const FORM = 'Write `HOST:PORT`: a name, `*.SUFFIX`, an address, a network such as `10.20.0.0/16`, or the folder of a Unix socket.';

/** @returns the rule, or what is wrong with it */
export function allowRule(text: string): AllowRule | string {
  const cut = text.lastIndexOf(':');
  const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text.slice(cut + 1));
  const from = Number(range?.[1]);
  const to = Number(range?.[2] ?? range?.[1]);
  if (cut < 1 || !range || from < 1 || to > 65_535 || to < from) return `\`${text.slice(0, 200)}\` does not end in a port, such as \`:5432\`. ${FORM}`;
  const ports = [from, to] as const;
  const host = text.slice(0, cut).toLowerCase();
  if (host.startsWith('/')) return { text, kind: 'socket', host: text.slice(0, cut).replace(/\/+$/, ''), ports };
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  const [address = '', bits] = bare.split('/');
  const family = isIP(address);
  if (family !== 0) {
    const most = family === 4 ? 32 : 128;
    const length = bits === undefined ? most : Number(bits);
    if (!Number.isInteger(length) || length < 0 || length > most || bits === '') return `\`${text.slice(0, 200)}\` is no network. ${FORM}`;
    // The whole of the Internet is no list.
    if (length < (family === 4 ? 8 : 16)) return `\`${text.slice(0, 200)}\` allows nearly everything. Name the networks that the databases are in.`;
    const network = new BlockList();
    network.addSubnet(address, length, family === 4 ? 'ipv4' : 'ipv6');
    return { text, kind: 'network', host: bare, network, ports };
  }
  if (host.startsWith('*.')) {
    const suffix = host.slice(1);
    if (!NAME.test(suffix.slice(1)) || !suffix.slice(1).includes('.'))
      return `\`${text.slice(0, 200)}\` allows nearly everything. Write a longer suffix, such as \`*.db.example:5432\`.`;
    return { text, kind: 'suffix', host: suffix, ports };
  }
  if (!NAME.test(host)) return `\`${text.slice(0, 200)}\` is no address. ${FORM}`;
  return { text, kind: 'name', host: host.replace(/\.$/, ''), ports };
}

export class Allowed {
  readonly #rules: readonly AllowRule[];
  readonly #lookup: Lookup;

  constructor(rules: readonly AllowRule[], lookup: Lookup = system) {
    this.#rules = rules;
    this.#lookup = lookup;
  }

  /** Whether a target can be allowed at all, without looking its name up: `maybe` where that decides. */
  judge({ host, port }: Target): 'yes' | 'maybe' | 'no' {
    const rules = this.#for(port);
    if (host.startsWith('/')) return rules.some((rule) => rule.kind === 'socket' && rule.host === host.replace(/\/+$/, '')) ? 'yes' : 'no';
    if (isIP(host) !== 0) return covered(rules, host) ? 'yes' : 'no';
    if (named(rules, host)) return 'yes';
    return rules.some(({ kind }) => kind === 'network') && NAME.test(host.toLowerCase()) ? 'maybe' : 'no';
  }

  /** Where to connect for a target, best first; none where it is not allowed. Rejects where a name cannot be looked up. */
  async places(target: Target): Promise<readonly Place[]> {
    const { host, port } = target;
    const verdict = this.judge(target);
    if (verdict === 'no') return [];
    if (host.startsWith('/')) return [{ path: `${host.replace(/\/+$/, '')}/.s.PGSQL.${port}` }];
    if (isIP(host) !== 0) return [{ host, port }];
    const rules = this.#for(port);
    const byName = verdict === 'yes';
    const addresses = await this.#lookup(host);
    // A name that leads into this machine, its link or a cloud's metadata service does so only where that address is on the list, too.
    const bad = addresses.some((address) => !covered(rules, address) && (!byName || (isForbidden(address) && host.toLowerCase() !== 'localhost')));
    return bad ? [] : addresses.map((address) => ({ host: address, port }));
  }

  #for(port: number): readonly AllowRule[] {
    return this.#rules.filter(({ ports: [from, to] }) => port >= from && port <= to);
  }
}

function named(rules: readonly AllowRule[], asked: string): boolean {
  const host = asked.toLowerCase().replace(/\.$/, '');
  if (!NAME.test(host)) return false;
  return rules.some(
    (rule) => (rule.kind === 'name' && rule.host === host) || (rule.kind === 'suffix' && host.endsWith(rule.host) && host.length > rule.host.length),
  );
}

function covered(rules: readonly AllowRule[], address: string): boolean {
  const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
  return rules.some(({ network }) => network?.check(address, family) === true);
}

async function system(name: string): Promise<readonly string[]> {
  return (await systemLookup(name, { all: true, verbatim: true })).map(({ address }) => address);
}
