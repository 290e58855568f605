/** What the server says beside results: errors, notices, settings, notifications; masked on the way. */
import type { SessionMasking } from '../../masking/masking.ts';
import { HIDDEN, maskDiagnostic, type Reach } from './diagnostics.ts';
import type { Flight } from './flight.ts';
import { BACK, FieldReader } from './frames.ts';
import { type Diagnostic, diagnostic, notificationResponse, parameterStatus } from './messages.ts';
import type { Outbox } from './outbox.ts';
import type { Rewrite } from './rewrite.ts';

const NOTHING_KNOWN = { own: (): string => '', isRelation: (): boolean => false };

export class Asides {
  readonly #masking: SessionMasking;
  readonly #out: Outbox;
  readonly #reach: () => Reach;

  /** @param reach for what belongs to no statement */
  constructor(masking: SessionMasking, out: Outbox, reach: () => Reach) {
    this.#masking = masking;
    this.#out = out;
    this.#reach = reach;
  }

  /** An error or a notice. @param said its fields, as they were read from the frame at `start…end` */
  diagnostic(type: number, said: Diagnostic, buffer: Buffer, start: number, end: number, flight: Flight | undefined, rewrite: Rewrite | undefined): void {
    const before = rewrite?.clientSide(said) ?? said;
    const { fields, masked } = maskDiagnostic(before, flight?.reach ?? this.#reach(), flight ?? NOTHING_KNOWN, this.#masking);
    if (flight) {
      flight.masked += masked;
      if (type === BACK.error) flight.failed(fields.get('C') ?? 'XX000', fields.get('M') ?? '');
    }
    const same = masked === 0 && before === said && fields.size === before.size;
    if (same) this.#out.range(buffer, start, end);
    else this.#out.bytes(diagnostic(type, fields));
  }

  /** A setting that the server reports. @returns its name and value */
  parameter(buffer: Buffer, start: number, end: number, reach: Reach | undefined): { readonly name: string; readonly value: string } {
    const reader = FieldReader.body(buffer, start, end);
    const name = reader.text();
    const value = reader.text();
    // A value can be smuggled out through a setting that the server reports.
    if ((reach === 'near' || reach === 'sensitive' || reach === 'code') && (name === 'application_name' || name === 'search_path')) return { name, value };
    const { text, findings } = this.#masking.scrub(value);
    if (findings.length === 0) this.#out.range(buffer, start, end);
    else this.#out.bytes(parameterStatus(name, text));
    return { name, value };
  }

  notification(buffer: Buffer, start: number, end: number): void {
    const reader = FieldReader.body(buffer, start, end);
    const pid = reader.int32();
    const channel = reader.text();
    const payload = reader.text();
    // Another session's statement made it, out of whatever that one could read.
    const text = payload !== '' && this.#reach() !== 'none' ? HIDDEN : this.#masking.scrub(payload).text;
    if (text === payload) this.#out.range(buffer, start, end);
    else this.#out.bytes(notificationResponse(pid, channel, text));
  }
}
