/** Leaky buckets in the store, so that asking another replica gains nothing. */

import { isIP } from 'node:net';
import { Problem } from '../../contract/problem.ts';
import { type Database, one } from '../store/database.ts';

const IPV6_WORDS = 8;
const IPV6_NETWORK_WORDS = 4;

export interface Rate {
  /** How many may come at once. */
  readonly burst: number;
  readonly perMinute: number;
}

export const RATES = {
  /** Beginning to sign in, from one address. */
  login: { burst: 30, perMinute: 30 },
  /** Proofs that did not hold, from one address. */
  badProof: { burst: 10, perMinute: 6 },
  /** Codes typed in by hand, from one address and by one person. */
  userCode: { burst: 10, perMinute: 5 },
  /** Answers to questions, by one person. */
  answer: { burst: 30, perMinute: 60 },
  /** Requests for access, by one person. */
  request: { burst: 10, perMinute: 5 },
} as const satisfies Record<string, Rate>;

export class RateLimits {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Counts one. @throws `Problem` `too-many` */
  async count(what: keyof typeof RATES, who: string): Promise<void> {
    if (!(await this.#add(what, who, 1))) throw tooMany();
  }

  /** Looks without counting: for what is counted only when it fails. @throws `Problem` `too-many` */
  async look(what: keyof typeof RATES, who: string): Promise<void> {
    if (!(await this.#add(what, who, 0))) throw tooMany();
  }

  async failed(what: keyof typeof RATES, who: string): Promise<void> {
    await this.#add(what, who, 1);
  }

  async #add(what: keyof typeof RATES, who: string, by: 0 | 1): Promise<boolean> {
    const { burst, perMinute } = RATES[what];
    const row = await one<{ level: number }>(
      this.#db,
      `INSERT INTO rate_limits AS r (key, level, at) VALUES ($1, $2, ms())
       ON CONFLICT (key) DO UPDATE SET level = least($4::float8 + 1, greatest(0, r.level - (ms() - r.at) * $3::float8) + $2::float8), at = ms() RETURNING level`,
      [`${what} ${who}`.slice(0, 300), by, perMinute / 60_000, burst],
    );
    return (row?.level ?? 0) <= burst;
  }
}

/** Whom an address is counted as. Whoever has one of IPv6 has as many as they like: all of one network are one. */
export function addressOf({ ip }: { readonly ip?: string | undefined }): string {
  const address = ip?.replace(/^::ffff:(?=\d+\.)/i, '') ?? 'unknown';
  if (isIP(address) !== 6) return address;
  // The URL parser writes each address in one way: words in hex, an address of IPv4 inside it, too.
  const written = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1);
  const [before = '', after] = written.split('::');
  const words = before.split(':').filter((word) => word !== '');
  const behind = after?.split(':').filter((word) => word !== '') ?? [];
  if (after !== undefined) words.push(...Array.from({ length: IPV6_WORDS - words.length - behind.length }, () => '0'));
  return `${[...words, ...behind].slice(0, IPV6_NETWORK_WORDS).join(':')}::/64`;
}

function tooMany(): Problem {
  return new Problem('too-many', 'Too many attempts. Wait a minute, then try again.');
}
