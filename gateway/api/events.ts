/** Server-sent events: what has changed, as a hint to ask again. Nobody hears of what they could not read. */
import type { Request, Response } from 'express';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Answers } from '../approval/answers.ts';
import type { Principal } from '../identity/principal.ts';
import type { Bus, Change } from '../store/bus.ts';
import { type Database, one } from '../store/database.ts';

/** Streams of one login, and of all. */
const MAX_PER_LOGIN = 20;
const MAX_STREAMS = 5_000;
/** A comment now and then, so that nothing in between takes the stream for dead, in milliseconds. */
const KEEP_ALIVE_MS = 15_000;
/** A reader that takes in nothing is dropped when this many bytes wait for it. */
const MAX_UNSENT_BYTES = 262_144;

interface Stream {
  readonly principal: Principal;
  readonly response: Response;
}

export interface EventParts {
  readonly db: Database;
  readonly bus: Bus;
  readonly answers: Answers;
  readonly log: Log;
}

export class EventStreams {
  readonly #parts: EventParts;
  readonly #streams = new Set<Stream>();
  readonly #timer: NodeJS.Timeout;

  constructor(parts: EventParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.#keepAlive(), KEEP_ALIVE_MS);
    this.#timer.unref();
    parts.bus.on('*', (change) => void this.#changed(change).catch((cause: unknown) => parts.log.warn('events.not-sent', { cause })));
  }

  get size(): number {
    return this.#streams.size;
  }

  add(principal: Principal, request: Request, response: Response): void {
    const same = [...this.#streams].filter((stream) => stream.principal.basis === principal.basis);
    if (this.#streams.size >= MAX_STREAMS || same.length >= MAX_PER_LOGIN) {
      response.status(429).json({ error: 'too-many', sentence: 'Too many open streams. Close some.' });
      return;
    }
    response.status(200);
    response.setHeader('Content-Type', 'text/event-stream');
    response.setHeader('X-Accel-Buffering', 'no');
    response.write('event: ready\ndata: {}\n\n');
    const stream = { principal, response };
    this.#streams.add(stream);
    // A stream ends with the token that opened it: the client comes back with the next.
    const timer = setTimeout(() => response.end(), Math.max(0, Math.min(principal.expiresAt - Date.now(), 2 ** 31 - 1)));
    timer.unref();
    request.once('close', () => {
      clearTimeout(timer);
      this.#streams.delete(stream);
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const { response } of this.#streams) response.end();
  }

  async #changed({ topic, subject }: Change): Promise<void> {
    switch (topic) {
      case 'policy':
        return this.#send(topic, subject, () => true);
      case 'login':
        // Whoever signed out, here or by an admin's hand, hears nothing more.
        for (const { principal, response } of this.#streams) if (principal.basis === subject) response.end();
        return;
      case 'approval': {
        if (this.#streams.size === 0) return;
        const concerns = await this.#parts.answers.whomItConcerns(subject);
        return this.#send(topic, subject, (principal) =>
          concerns({ id: principal.id, person: principal.person, auditor: principal.kind === 'person' && principal.roles.includes('auditor') }),
        );
      }
      case 'grant': {
        const row =
          this.#streams.size === 0
            ? undefined
            : await one<{ person: string; given_by: { issuer: string; subject: string }[] }>(
                this.#parts.db,
                'SELECT person, given_by FROM grants WHERE id = $1',
                [subject],
              );
        if (row)
          this.#send(
            topic,
            subject,
            (p) => p.id === row.person || sees(p) || row.given_by.some(({ issuer, subject: s }) => issuer === p.person.issuer && s === p.person.subject),
          );
        return;
      }
      case 'session': {
        const id = subject.replace(/^end /, '');
        const row = this.#streams.size === 0 ? undefined : await one<{ person: string }>(this.#parts.db, 'SELECT person FROM sessions WHERE id = $1', [id]);
        if (row) this.#send(topic, id, (p) => p.id === row.person || sees(p));
        return;
      }
      case 'edge':
      case 'pin':
        return this.#send(topic, subject, sees);
      case 'key':
      case 'credential':
      case 'account':
      case 'person':
        return;
    }
  }

  #send(topic: string, subject: string, to: (principal: Principal) => boolean): void {
    for (const stream of this.#streams) if (to(stream.principal)) this.#write(stream, topic, subject);
  }

  #write({ response }: Stream, topic: string, subject: string): void {
    if (response.writableLength > MAX_UNSENT_BYTES) return void response.destroy();
    response.write(`event: ${topic}\ndata: ${JSON.stringify({ subject })}\n\n`);
  }

  #keepAlive(): void {
    for (const { response } of this.#streams) response.write(': still here\n\n');
  }
}

/** Who sees everybody's sessions and grants. */
function sees(principal: Principal): boolean {
  return principal.kind === 'person' && (principal.roles.includes('auditor') || principal.roles.includes('admin'));
}
