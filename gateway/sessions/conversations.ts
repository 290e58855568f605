/** Runs of agents, as the gateway tells them apart: by person first, and then by the name that the person's proxy gave. */
import { Conversation } from '../../proxy/pipeline/conversation.ts';
import type { Engine } from '../../proxy/pipeline/engine.ts';
import type { SessionOwner } from '../recording/recorder.ts';
import type { TunnelPrincipal } from '../tunnel/principal.ts';

/** Runs that are remembered; beyond it the one unused longest is forgotten. */
const MAX_CONVERSATIONS = 50_000;

export class Conversations {
  readonly #newId: Engine['newId'];
  readonly #known = new Map<string, Conversation>();
  readonly #owners = new Map<string, SessionOwner>();

  constructor(newId: Engine['newId']) {
    this.#newId = newId;
  }

  /** @param name the proxy's word for it: another person's proxy may use the same */
  of({ basis, id, person }: TunnelPrincipal, name: string): Conversation {
    const key = JSON.stringify([person.issuer, person.subject, name]);
    const conversation = this.#known.get(key) ?? new Conversation(this.#newId('con'));
    this.#known.delete(key);
    this.#known.set(key, conversation);
    this.#owners.set(conversation.id, { person: id, login: basis });
    for (const [oldest, { id: forgotten }] of this.#known) {
      if (this.#known.size <= MAX_CONVERSATIONS) break;
      this.#known.delete(oldest);
      this.#owners.delete(forgotten);
    }
    return conversation;
  }

  /** Whose it is. */
  ownerOf(conversation: string): SessionOwner | undefined {
    return this.#owners.get(conversation);
  }

  /** A conversation that a protocol made for itself belongs to whoever it acts for. */
  adopt(conversation: string, owner: SessionOwner): void {
    this.#owners.set(conversation, owner);
  }
}
