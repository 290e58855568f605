/** Where the demo's identity provider keeps what it issued: in memory, as long as the demo runs. */
import type { Adapter, AdapterPayload } from 'oidc-provider';

/** Most records of one kind; the oldest go first. */
const MAX_RECORDS = 1000;

export class IdentityStore implements Adapter {
  readonly #records = new Map<string, AdapterPayload>();

  upsert(id: string, payload: AdapterPayload): Promise<undefined> {
    this.#records.delete(id);
    this.#records.set(id, payload);
    for (const oldest of this.#records.keys()) if (this.#records.size > MAX_RECORDS) this.#records.delete(oldest);
    return Promise.resolve(undefined);
  }

  find(id: string): Promise<AdapterPayload | undefined> {
    const found = this.#records.get(id);
    return Promise.resolve(found?.exp !== undefined && found.exp * 1000 < Date.now() ? undefined : found);
  }

  findByUid(uid: string): Promise<AdapterPayload | undefined> {
    return Promise.resolve([...this.#records.values()].find((record) => record.uid === uid));
  }

  findByUserCode(userCode: string): Promise<AdapterPayload | undefined> {
    return Promise.resolve([...this.#records.values()].find((record) => record.userCode === userCode));
  }

  consume(id: string): Promise<undefined> {
    const found = this.#records.get(id);
    if (found) found.consumed = Math.floor(Date.now() / 1000);
    return Promise.resolve(undefined);
  }

  destroy(id: string): Promise<undefined> {
    this.#records.delete(id);
    return Promise.resolve(undefined);
  }

  revokeByGrantId(grantId: string): Promise<undefined> {
    for (const [id, record] of this.#records) if (record.grantId === grantId) this.#records.delete(id);
    return Promise.resolve(undefined);
  }
}
