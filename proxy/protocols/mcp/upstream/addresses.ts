/**
 * Which addresses a server's name may lead to. A name that the policy does not spell out as an address must not reach this
 * machine, its link or a cloud's metadata service, whichever way the address is written.
 */
import { lookup as systemLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { Problem } from '../../../../contract/problem.ts';

/** Never behind a name: unspecified, loopback, link-local, multicast, and metadata services that live elsewhere. */
const never = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['192.0.0.192', 32],
] as const)
  never.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of [
  ['::', 127],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
  ['fd00:ec2::', 32],
  ['fd20:ce::254', 128],
] as const)
  never.addSubnet(net, bits, 'ipv6');

const NAMED_LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);

/** @param address an IPv4 or IPv6 address as the system writes it */
export function isForbidden(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return never.check(address, 'ipv4');
  if (family !== 6) return true;
  if (never.check(address, 'ipv6')) return true;
  const inner = embedded(address);
  return inner !== undefined && never.check(inner, 'ipv4');
}

/** The IPv4 address inside an IPv6 one: mapped, compatible, NAT64 (also local), 6to4, Teredo. */
function embedded(address: string): string | undefined {
  const words = wordsOf(address);
  if (!words) return undefined;
  const v4 = (high: number, low: number): string => `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = words;
  if (a === 0 && b === 0 && c === 0 && d === 0 && (e === 0 || e === 0xffff) && (f === 0 || f === 0xffff)) return v4(g, h);
  if (a === 0x64 && b === 0xff9b) return v4(g, h);
  if (a === 0x2002) return v4(b, c);
  if (a === 0x2001 && b === 0) return v4(g ^ 0xffff, h ^ 0xffff);
  return undefined;
}

function wordsOf(address: string): number[] | undefined {
  // The URL parser writes every form as groups of hexadecimal digits.
  const plain = new URL(`http://[${address.replace(/%.*$/, '')}]/`).hostname.slice(1, -1);
  const [left = '', right] = plain.split('::');
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  if (right === undefined) return groups(left);
  const [before, after] = [groups(left), groups(right)];
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
}

/** Looks a name up, and refuses it when any of its addresses is forbidden: what is connected to is what was checked. */
export function guardedLookup(url: URL): LookupFunction | undefined {
  // An address, or this machine by its own name, is what the policy's writer meant.
  if (NAMED_LOOPBACK.has(url.hostname) || isIP(url.hostname.replace(/^\[(.*)\]$/, '$1')) !== 0) return undefined;
  return (hostname, options, callback) => {
    systemLookup(hostname, { ...options, all: true }, (cause, addresses) => {
      if (cause) return callback(cause, '', 0);
      const [first] = addresses;
      if (!first || addresses.some(({ address }) => isForbidden(address))) {
        return callback(new Problem('forbidden-address', `${hostname} leads to an address inside this machine or its network link.`), '', 0);
      }
      return options.all ? (callback as unknown as (cause: null, all: typeof addresses) => void)(null, addresses) : callback(null, first.address, first.family);
    });
  };
}
