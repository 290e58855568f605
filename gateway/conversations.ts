/** The conversations of those who are connected: one for each run of an agent, with who it belongs to. */
import { createHash } from 'node:crypto';
import { Problem } from '../contract/problem.ts';
import { Conversation } from '../proxy/pipeline/conversation.ts';
import type { ClientIdentity } from '../proxy/protocols/protocol.ts';
import type { Principal } from './identity/principal.ts';
import type { SessionOwner } from './recording/recorder.ts';

/** Of all, and of one person or service account: beyond it the one unused longest is forgotten. */
const MAX_CONVERSATIONS = 20_000;
const MAX_EACH = 1_000;

export class Conversations {
  readonly #byRun = new Map<string, Conversation>();
  readonly #owners = new Map<string, SessionOwner>();
  /** By whose they are, the one unused longest first: nobody has what others have read forgotten by naming ever new runs. */
  readonly #byPerson = new Map<string, Set<string>>();

  /**
   * What a session's client is to the engine. Agent and run are what the client said of itself, unless its token says so.
   * @param said the agent and its run, for principals whose token names none
   */
  identity(principal: Principal, surface: string, said: { readonly agent: ClientIdentity['actor']['agent']; readonly run: string }): ClientIdentity {
    const agent = principal.kind === 'run' ? principal.agent : said.agent;
    const run = principal.kind === 'run' ? principal.run : said.run;
    const key = `${principal.id} ${principal.basis} ${run}`;
    // The same on every replica, so that a run's sessions are found together.
    const id = `con_${createHash('sha256').update(key).digest('base64url').slice(0, 22)}`;
    const conversation = this.#byRun.get(id) ?? new Conversation(id);
    this.#byRun.delete(id);
    this.#byRun.set(id, conversation);
    this.#owners.set(id, { person: principal.id, basis: principal.basis });
    const own = this.#byPerson.get(principal.id) ?? new Set();
    this.#byPerson.set(principal.id, own);
    own.delete(id);
    own.add(id);
    for (const oldest of own) {
      if (own.size <= MAX_EACH) break;
      this.#forget(oldest);
    }
    for (const oldest of this.#byRun.keys()) {
      if (this.#byRun.size <= MAX_CONVERSATIONS) break;
      this.#forget(oldest);
    }
    return { actor: { person: principal.person, agent }, surface, conversation };
  }

  /** @throws `Problem` where it belongs to nobody who is connected */
  ownerOf(conversation: string): SessionOwner {
    const owner = this.#owners.get(conversation);
    if (!owner) throw new Problem('not-signed-in', 'This session belongs to nobody who is signed in. Connect again.');
    return owner;
  }

  #forget(id: string): void {
    const person = this.#owners.get(id)?.person ?? '';
    this.#byRun.delete(id);
    this.#owners.delete(id);
    const own = this.#byPerson.get(person);
    own?.delete(id);
    if (own?.size === 0) this.#byPerson.delete(person);
  }
}
