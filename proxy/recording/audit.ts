/** The audit: one chain over all sessions, so that a session's file that goes missing or loses its end is seen. */
import { z } from 'zod';
import { RECORDING_VERSION } from '../../contract/recording.ts';

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const session = z.string().regex(/^[A-Za-z0-9_-]{1,128}$/);
/** A session's file, relative to the folder of sessions, always with `/`. */
const file = z.string().regex(/^\d{4}-\d{2}-\d{2}\/[A-Za-z0-9_-]{1,128}\.jsonl$/);
const entries = z.number().int().nonnegative();

export const AuditBody = z.discriminatedUnion('type', [
  /**
   * A recorder began to write; `key` is the fingerprint of what it signs checkpoints with. `problem`: what did not hold
   * before it went on, written down because its own checkpoint would otherwise vouch for it.
   */
  z.object({ type: z.literal('recorder.started'), key: hex64, problem: z.string().max(1000).optional() }),
  z.object({ type: z.literal('session.opened'), session, file }),
  /** Where an open session stood at some time: its file may be longer, never other. */
  z.object({ type: z.literal('session.mark'), session, head: hex64, entries }),
  /** `recovered`: sealed at a later start, because the recorder that wrote it went away. */
  z.object({ type: z.literal('session.closed'), session, file, head: hex64, entries, recovered: z.boolean(), problem: z.string().max(1000).optional() }),
  /** Its record was removed because its time was over, `days` after its end; what it had been stays noted here. */
  z.object({ type: z.literal('session.expired'), session, head: hex64, entries, days: z.number().int().positive() }),
]);
export type AuditBody = z.infer<typeof AuditBody>;

const AuditEntry = z.object({
  v: z.literal(RECORDING_VERSION),
  seq: z.number().int().nonnegative(),
  at: z.string().max(40),
  prev: hex64,
  body: AuditBody,
});

/** What the audit says of one session. */
export interface AuditedSession {
  readonly file: string;
  readonly mark?: { readonly entries: number; readonly head: string };
  /** Removed by rule. */
  readonly expired?: boolean;
  readonly closed?: { readonly entries: number; readonly head: string; readonly recovered: boolean; readonly problem?: string | undefined };
}

/** Gathers what the audit's lines say; a line that is none is left to the chain's own check. */
export class AuditView {
  readonly sessions = new Map<string, AuditedSession>();
  readonly problems: string[] = [];
  key: string | undefined;

  take(text: string, seq: number): void {
    const parsed = AuditEntry.safeParse(parseJson(text));
    if (!parsed.success) {
      this.problems.push(`The audit's line ${seq + 1} is not an entry that this version understands.`);
      return;
    }
    const { body } = parsed.data;
    switch (body.type) {
      case 'recorder.started':
        this.key = body.key;
        if (body.problem !== undefined) this.problems.push(`When a recorder started at ${parsed.data.at}: ${body.problem}`);
        return;
      case 'session.opened':
        if (this.sessions.has(body.session)) this.problems.push(`The audit opens session ${body.session} twice.`);
        this.sessions.set(body.session, { file: body.file });
        return;
      case 'session.mark': {
        const known = this.sessions.get(body.session);
        if (known) this.sessions.set(body.session, { ...known, mark: body });
        return;
      }
      case 'session.closed': {
        const known = this.sessions.get(body.session);
        if (known?.closed) this.problems.push(`The audit closes session ${body.session} twice.`);
        this.sessions.set(body.session, { ...known, file: body.file, closed: body });
        return;
      }
      case 'session.expired': {
        const known = this.sessions.get(body.session);
        if (!known?.closed || known.closed.entries !== body.entries || known.closed.head !== body.head)
          this.problems.push(`The audit says that the record of session ${body.session} was removed when its time was over, and not that it had ended so.`);
        if (known) this.sessions.set(body.session, { ...known, expired: true });
      }
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
