/**
 * Messages to the outside (a webhook, a chat channel): that something waits, and a link. Never what was asked in so many words,
 * and never a way to answer: that happens under a login. At least once, from the store, by whichever replica comes first,
 * and for one approval in order: where "asks" has to be sent again, "approved" waits for it.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { type Person, personLabel } from '../../contract/actor.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { type Env, type GatewayConfig, readSecret } from '../config/load.ts';
import type { Bus } from '../store/bus.ts';
import { type Database, json, one, type Queryable } from '../store/database.ts';

type NoticeEvent = 'asked' | 'escalated' | 'answered' | 'approved' | 'denied';

interface Facts {
  readonly headline: string;
  readonly connection: string;
  readonly requester: Person;
  readonly agent: string;
  readonly by?: Person;
  readonly reason?: string;
}

/** How often what is due is looked for, in milliseconds. */
const EVERY_MS = 1_000;
/** How long the other side may take, in milliseconds. */
const TIMEOUT_MS = 5_000;
/** Waits between attempts, in milliseconds; then it is given up. */
const RETRY_MS = [1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000] as const;
/** A message that is being sent is left alone by others this long, in milliseconds. */
const HOLD_MS = 15_000;
/** What has not been sent and still will be. */
const WAITING = 'sent_at IS NULL AND given_up_at IS NULL';

interface Due {
  readonly id: string;
  readonly target: string;
  readonly event: NoticeEvent;
  readonly subject: string;
  readonly body: Facts;
  readonly attempts: number;
  readonly created_at: number;
}

export class Notices {
  readonly #db: Database;
  readonly #config: GatewayConfig;
  readonly #env: Env;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  #sending = false;
  #stopped = false;

  constructor(db: Database, config: GatewayConfig, env: Env, bus: Bus, log: Log) {
    this.#db = db;
    this.#config = config;
    this.#env = env;
    this.#log = log;
    bus.on('approval', () => void this.#pump());
  }

  start(): void {
    if (this.#config.notify.length === 0) return;
    this.#timer = setInterval(() => void this.#pump(), EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  /** Part of the transaction that it tells of. */
  async queue(tx: Queryable, event: NoticeEvent, approval: string, facts: Facts): Promise<void> {
    for (const { id } of this.#config.notify) {
      await tx.query('INSERT INTO outgoing (id, target, event, subject, body) VALUES ($1, $2, $3, $4, $5::jsonb)', [
        `out_${randomBytes(12).toString('base64url')}`,
        id,
        event,
        approval,
        json(facts),
      ]);
    }
  }

  async #pump(): Promise<void> {
    if (this.#sending || this.#stopped || this.#config.notify.length === 0) return;
    this.#sending = true;
    try {
      for (;;) {
        const due = await one<Due>(
          this.#db,
          `UPDATE outgoing SET attempts = attempts + 1, next_at = ms() + ${HOLD_MS} WHERE id = (
             SELECT id FROM outgoing due WHERE ${WAITING} AND next_at <= ms() AND NOT EXISTS (
               SELECT FROM outgoing earlier WHERE ${WAITING} AND earlier.target = due.target AND earlier.subject = due.subject AND earlier.created_at < due.created_at)
             ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING id, target, event, subject, body, attempts, created_at`,
        );
        if (!due || this.#stopped) return;
        await this.#send(due);
      }
    } catch (cause) {
      if (!this.#stopped) this.#log.warn('notices.not-read', { cause });
    } finally {
      this.#sending = false;
    }
  }

  async #send(due: Due): Promise<void> {
    const target = this.#config.notify.find(({ id }) => id === due.target);
    let problem: string | undefined;
    if (!target) problem = 'the configuration does not name this target any more';
    else {
      try {
        const url = readSecret(target.url, this.#env).reveal();
        const body = JSON.stringify(target.kind === 'slack' ? this.#slack(due) : this.#webhook(due));
        const headers: Record<string, string> = { 'Content-Type': 'application/json', 'User-Agent': 'countersign-gateway' };
        if (target.secret !== undefined) {
          const at = Math.floor(Date.now() / 1000);
          headers['X-Countersign-Signature'] =
            `t=${at},v1=${createHmac('sha256', readSecret(target.secret, this.#env).reveal()).update(`${at}.${body}`).digest('hex')}`;
          headers['X-Countersign-Delivery'] = due.id;
        }
        // A redirect would carry the signed message to another place.
        const response = await fetch(url, { method: 'POST', body, headers, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
        await response.body?.cancel();
        if (!response.ok) problem = `answered with ${response.status}`;
      } catch (cause) {
        problem = cause instanceof Error && cause.name === 'TimeoutError' ? 'did not answer in time' : 'could not be reached';
      }
    }
    if (problem === undefined) {
      await this.#db.query('UPDATE outgoing SET sent_at = ms(), problem = NULL WHERE id = $1', [due.id]);
      return;
    }
    const wait = target ? RETRY_MS[due.attempts - 1] : undefined;
    this.#log.warn('notice.not-sent', { target: due.target, attempt: due.attempts, problem, givenUp: wait === undefined });
    await this.#db.query(
      'UPDATE outgoing SET problem = $2, next_at = ms() + $3::bigint, given_up_at = CASE WHEN $4::boolean THEN ms() ELSE NULL END WHERE id = $1',
      [due.id, problem, wait ?? 0, wait === undefined],
    );
  }

  #link(approval: string): string {
    return `${this.#config.publicUrl}/#/approvals/${approval}`;
  }

  #webhook({ id, event, subject, body, created_at }: Due): object {
    const { requester, by, ...facts } = body;
    return {
      id,
      event,
      approval: subject,
      at: new Date(created_at).toISOString(),
      link: this.#link(subject),
      ...facts,
      requester: named(requester),
      ...(by && { by: named(by) }),
    };
  }

  #slack({ event, subject, body }: Due): object {
    const who = `${escape(body.agent)} for ${escape(personLabel(body.requester))}`;
    const what = `*${escape(body.headline)}* on ${escape(body.connection)}`;
    const link = `<${this.#link(subject)}|Open the request>`;
    switch (event) {
      case 'asked':
        return { text: `${who} asks: ${what}. ${link}` };
      case 'escalated':
        return { text: `Nobody has answered yet. ${who} asks: ${what}. ${link}` };
      case 'answered':
      case 'approved':
      case 'denied':
        return {
          text: `${escape(body.by ? personLabel(body.by) : 'Somebody')} ${event === 'denied' ? 'denied' : 'approved'} ${what} of ${escape(personLabel(body.requester))}.${event === 'answered' ? ` Others must approve, too. ${link}` : ''}`,
        };
    }
  }
}

function named(person: Person): { issuer: string; subject: string; name?: string } {
  return { issuer: person.issuer, subject: person.subject, ...(person.name !== undefined && { name: person.name }) };
}

/** What a chat would read as markup: links, mentions, formatting. */
function escape(text: string): string {
  return (
    text
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll(/[*_~`|@]/g, (c) => `${c}\u200b`)
      // An address in what somebody asks would be a link of ours to wherever they like; marks of direction would reorder the rest.
      .replaceAll('://', ':\u200b//')
      .replaceAll(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, ' ')
  );
}
