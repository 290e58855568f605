/**
 * Logins for the data surfaces: short-lived, made from the start-up secret, kept nowhere. Whoever holds one can send
 * operations through the proxy and approve none of them.
 *
 *   login   `<surface>.<window>.<expiry>`             password = HMAC(secret, 'password' | login)
 *   bearer  `<surface>.<window>.<expiry>.<mac>`       mac      = HMAC(secret, 'bearer'   | login)
 *
 * A password is no bearer token and the other way about, a surface's login opens that surface only, and a proxy that is
 * started again with the same secret goes on to know them.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Agent, Person } from '../../contract/actor.ts';
import { Secret } from '../../contract/secret.ts';
import { Conversation } from '../pipeline/conversation.ts';
import type { Engine } from '../pipeline/engine.ts';
import type { ClientIdentity, Clients } from '../protocols/protocol.ts';

/** Surface of terminals and database clients, by login; surface of MCP clients, by bearer token. */
const TERMINAL = 'terminal';
const MCP = 'mcp';
type Surface = typeof TERMINAL | typeof MCP;

/** How long a login is good for, in milliseconds. */
export const LOGIN_LIFETIME_MS = 12 * 60 * 60 * 1000;
/** A login's expiry is rounded up to this, so that a window asking again gets the same one for a while. */
const LOGIN_STEP_MS = 60 * 60 * 1000;
const MAX_LOGIN_CHARS = 100;
const MAX_BEARER_CHARS = 200;
/** Runs of agents that are remembered; beyond it the one unused longest is forgotten. */
const MAX_CONVERSATIONS = 4_096;
const MAX_WINDOWS = 4_096;
/** Bearers whose proof is not looked at again with each of their requests. */
const MAX_PROVED = 256;
const NAME = /^(terminal|mcp)\.([0-9a-f]{16})\.([0-9a-z]{1,10})$/;

export interface ClientsOptions {
  readonly secret: Secret;
  readonly person: Person;
  readonly clock: Engine['clock'];
  readonly newId: Engine['newId'];
}

export class ClientLogins implements Clients {
  readonly #options: ClientsOptions;
  readonly #conversations = new Map<string, Conversation>();
  /** Bearers that were proved: nobody can fill this with others. Whether one has expired is looked at each time. */
  readonly #proved = new Map<string, Name>();
  /** Short window name → what its editor calls itself. */
  readonly #editors = new Map<string, string>();

  constructor(options: ClientsOptions) {
    this.#options = options;
  }

  /** Remembers what a window's editor calls itself, so that the record can name it. */
  window(window: string, editor: string): void {
    const key = shortWindow(window);
    this.#editors.delete(key);
    this.#editors.set(key, editor);
    for (const oldest of this.#editors.keys()) {
      if (this.#editors.size <= MAX_WINDOWS) break;
      this.#editors.delete(oldest);
    }
  }

  /** A login for a window's terminals. */
  issueLogin(window: string): { readonly user: string; readonly password: Secret } {
    const user = this.#name(TERMINAL, window);
    return { user, password: this.#mac('password', user) };
  }

  /** A bearer token for a window's MCP clients. */
  issueBearer(window: string): Secret {
    const name = this.#name(MCP, window);
    return new Secret(`${name}.${this.#mac('bearer', name).reveal()}`);
  }

  login(user: string): { readonly secret: Secret; readonly identity: ClientIdentity } | undefined {
    const name = readName(user, TERMINAL);
    const identity = name && this.#identity(name);
    return identity && { secret: this.#mac('password', user), identity };
  }

  bearer(token: string): ClientIdentity | undefined {
    if (token.length > MAX_BEARER_CHARS) return undefined;
    // Found by its hash: the time that it takes says nothing of how nearly right a token is.
    const name = this.#proved.get(token) ?? this.#prove(token);
    return name && this.#identity(name);
  }

  /** The proof is checked first, so that nothing else about a forged token can be learned from the time it takes. */
  #prove(token: string): Name | undefined {
    const cut = token.lastIndexOf('.');
    const text = token.slice(0, Math.max(cut, 0));
    if (!sameText(token.slice(cut + 1), this.#mac('bearer', text).reveal())) return undefined;
    const name = readName(text, MCP);
    if (!name) return undefined;
    this.#proved.set(token, name);
    for (const oldest of this.#proved.keys()) {
      if (this.#proved.size <= MAX_PROVED) break;
      this.#proved.delete(oldest);
    }
    return name;
  }

  #name(surface: Surface, window: string): string {
    const expiry = Math.ceil((this.#options.clock.now() + LOGIN_LIFETIME_MS - LOGIN_STEP_MS) / LOGIN_STEP_MS) * LOGIN_STEP_MS;
    return `${surface}.${shortWindow(window)}.${expiry.toString(36)}`;
  }

  #mac(use: 'password' | 'bearer', name: string): Secret {
    return new Secret(createHmac('sha256', this.#options.secret.reveal()).update(`countersign client login 1\n${use}\n${name}`).digest('base64url'));
  }

  #identity({ expires, surface, window }: Name): ClientIdentity | undefined {
    const left = expires - this.#options.clock.now();
    if (!(left > 0 && left <= LOGIN_LIFETIME_MS)) return undefined;
    const agent = agentOf(surface, this.#editors.get(window));
    return { actor: { person: this.#options.person, agent }, surface, conversation: this.#conversation(window), goodForMs: left };
  }

  /**
   * One conversation for each window, whatever its agents use: what is read from a database by a terminal can be sent on by a tool of
   * any server, and tokens that one surface was given can be handed to another.
   */
  #conversation(key: string): Conversation {
    const conversation = this.#conversations.get(key) ?? new Conversation(this.#options.newId('con'));
    this.#conversations.delete(key);
    this.#conversations.set(key, conversation);
    for (const oldest of this.#conversations.keys()) {
      if (this.#conversations.size <= MAX_CONVERSATIONS) break;
      this.#conversations.get(oldest)?.vault.end();
      this.#conversations.delete(oldest);
    }
    return conversation;
  }
}

/** What a login says of itself. */
interface Name {
  readonly surface: Surface;
  /** Short name of the window. */
  readonly window: string;
  /** Epoch milliseconds. */
  readonly expires: number;
}

function readName(text: string, surface: Surface): Name | undefined {
  const [, of, window = '', expiry = ''] = (text.length <= MAX_LOGIN_CHARS && NAME.exec(text)) || [];
  return of === surface ? { surface, window, expires: Number.parseInt(expiry, 36) } : undefined;
}

/** What acts on a surface, as far as its login tells. A protocol may learn more from the client itself. */
function agentOf(surface: Surface, editor: string | undefined): Agent {
  if (surface === TERMINAL) return { kind: 'terminal', name: editor === undefined ? 'Terminal' : `Terminal in ${editor}`.slice(0, 200) };
  if (editor === undefined) return { kind: 'unknown', name: 'MCP client' };
  return { kind: /cursor/i.test(editor) ? 'cursor' : 'vscode-chat', name: editor };
}

/** A window's name is the editor's and may hold anything; sixteen hex digits of its hash stand for it in a login. */
function shortWindow(window: string): string {
  return createHash('sha256').update(window).digest('hex').slice(0, 16);
}

function sameText(a: string, b: string): boolean {
  // How long a proof is, is no secret.
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
