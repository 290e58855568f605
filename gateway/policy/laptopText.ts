/**
 * The organisation's policy, cut to what a laptop needs: rules, masks and classification, and the names of shared connections,
 * so that nothing there can be called like one. Where they are, how they log in, and the rules that speak of nothing else stay
 * in the gateway, which enforces them. Of a connection of the laptop's own only how it is to be handled is said: neither an
 * address nor a program nor a place of a secret comes from the gateway (docs/adr/policy-for-laptops.md).
 */
import { stringify } from 'yaml';
import { z } from 'zod';
import { readYaml } from '../../proxy/policy/yamlText.ts';

/** Stands where an address must: no name below it ever leads anywhere (RFC 2606). */
const NOWHERE = 'gateway.invalid';

const Shape = z.looseObject({
  version: z.literal(1),
  defaults: z.unknown().optional(),
  connections: z.record(z.string(), z.looseObject({})).default({}),
  rules: z.array(z.looseObject({ id: z.string() })).default([]),
});
const Connections = z.union([z.string().transform((one) => [one]), z.array(z.string())]);

/** @param only the shared connections that whoever it is for may use; absent: all */
export function laptopText(text: string, only?: readonly string[]): string {
  const { defaults, connections, rules } = Shape.parse(readYaml(text, 'the policy').value);
  const shared = new Set(Object.entries(connections).flatMap(([name, { via }]) => (via === 'gateway' ? [name] : [])));
  const kept = Object.entries(connections).flatMap(([name, value]): [string, object][] => {
    if (shared.has(name)) return only === undefined || only.includes(name) ? [[name, named(value)]] : [];
    const said = handling(value);
    return Object.keys(said).length > 0 ? [[name, said]] : [];
  });
  const laptop = rules.filter(({ match }) => !speaksOnlyOf(shared, match));
  return stringify(
    {
      version: 1,
      ...(defaults !== undefined && { defaults }),
      ...(kept.length > 0 && { connections: Object.fromEntries(kept) }),
      ...(laptop.length > 0 && { rules: laptop }),
    },
    // No anchors: the policy language refuses them.
    { aliasDuplicateObjects: false, lineWidth: 0 },
  );
}

/** A shared connection by its name, with what its clients must know. */
function named({ protocol, upstream, sensitive }: Record<string, unknown>): object {
  if (protocol !== 'postgres') return { protocol, via: 'gateway', upstream: { url: `https://${NOWHERE}/` } };
  const database = typeof upstream === 'string' && URL.canParse(upstream) ? new URL(upstream).pathname : '/';
  return { protocol, via: 'gateway', upstream: `postgres://${NOWHERE}${database}`, ...(sensitive !== undefined && { sensitive }) };
}

/** How a connection of the laptop's own is to be handled. The milder values say nothing that the laptop's own file could not. */
function handling({ sensitive, tokens, pin, hints, arguments: secrets, share }: Record<string, unknown>): object {
  return {
    ...(sensitive !== undefined && { sensitive }),
    ...(tokens !== undefined && { tokens }),
    ...(pin === 'ask' && { pin }),
    ...(hints === 'tighten' && { hints }),
    ...(secrets === 'mask' && { arguments: secrets }),
    ...(share === 'session' && { share }),
  };
}

/** Whether a rule can never match on a laptop: it names shared connections and no other, without a pattern. */
function speaksOnlyOf(shared: ReadonlySet<string>, match: unknown): boolean {
  const connection = typeof match === 'object' && match !== null && 'connection' in match ? Connections.safeParse(match.connection).data : undefined;
  return connection !== undefined && connection.every((name) => shared.has(name));
}
