/** Logins that Vault or OpenBao lends: renewed while a session uses them, given back when it ends. */
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { LeasedLogin } from '../../proxy/protocols/protocol.ts';
import type { Vault } from './vault.ts';

/** A lease is renewed when this part of it has passed, and again after a tenth where that failed. */
const RENEW_AT = 0.5;
const RETRY_AT = 0.1;
/** Whoever uses a lease that cannot be renewed must stop so long before it ends, in milliseconds. */
const MARGIN_MS = 2_000;
const MAX_TIMER_MS = 24 * 3_600_000;
/** Tries to give a lease back, and the waits between them, in milliseconds. After that it ends by itself. */
const REVOKE_MS = [0, 1_000, 5_000, 30_000] as const;

const Login = z.object({ username: z.string().min(1).max(200), password: z.string().min(1).max(10_000) });

export class VaultLeases {
  readonly #vault: Vault;
  readonly #log: Log;
  readonly #open = new Set<{ release(): Promise<void> }>();

  constructor(vault: Vault, log: Log) {
    this.#vault = vault;
    this.#log = log;
  }

  /** Leases that are out. */
  get size(): number {
    return this.#open.size;
  }

  /** @param path of a role: `database/creds/orders`. @throws Problem `vault-away`, `vault-refused` */
  async issue(path: string): Promise<LeasedLogin> {
    const answer = await this.#vault.request('GET', path.split('/').map(encodeURIComponent).join('/'));
    const login = Login.safeParse(answer.data);
    if (!login.success || answer.lease_id === '')
      throw new Problem('vault-refused', `What Vault has at ${path} is no role of a database engine. Check the path in the policy.`);
    const lost = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const { lease_id: id, renewable } = answer;
    let endsAt = performance.now() + answer.lease_duration * 1000;
    const wait = (ms: number): void => {
      timer = setTimeout(() => void renew(), Math.min(Math.max(ms, 0), MAX_TIMER_MS));
      timer.unref();
    };
    const renew = async (): Promise<void> => {
      if (over) return;
      const left = endsAt - performance.now();
      if (left <= MARGIN_MS) {
        this.#log.warn('vault.lease-lost', { path });
        lost.abort();
        return;
      }
      if (!renewable) return wait(left - MARGIN_MS);
      try {
        const { lease_duration: seconds } = await this.#vault.request('PUT', 'sys/leases/renew', { lease_id: id, increment: answer.lease_duration });
        endsAt = performance.now() + seconds * 1000;
        if (!over) wait(seconds * 1000 * RENEW_AT);
      } catch (cause) {
        this.#log.warn('vault.not-renewed', { path, cause });
        if (!over) wait(Math.min(left * RETRY_AT, left - MARGIN_MS));
      }
    };
    wait(answer.lease_duration * 1000 * RENEW_AT);
    const lease: LeasedLogin = {
      user: login.data.username,
      password: new Secret(login.data.password),
      lost: lost.signal,
      release: async () => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        this.#open.delete(lease);
        await this.#revoke(id, path);
      },
    };
    this.#open.add(lease);
    return lease;
  }

  /** Gives back what is out. Never rejects. */
  async stop(): Promise<void> {
    await Promise.all([...this.#open].map((lease) => lease.release()));
  }

  async #revoke(id: string, path: string): Promise<void> {
    for (const wait of REVOKE_MS) {
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait).unref());
      try {
        await this.#vault.request('PUT', 'sys/leases/revoke', { lease_id: id });
        return;
      } catch (cause) {
        this.#log.warn('vault.not-revoked', { path, cause });
      }
    }
  }
}
