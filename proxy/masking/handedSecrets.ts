/**
 * Secrets that we hand to a server ourselves: in a header, in its environment. Should it say one back, the agent gets a mark
 * in its place, whatever the secret looks like. What a server makes of one (reversed, cut, encoded in its own way) is not known.
 */
import type { Finding } from '../../contract/response.ts';
import type { MaskedText, MaskStream, Scrubbed, SessionMasking } from './masking.ts';

/** Anything shorter stands in too much that is no secret, in characters. */
const SHORTEST = 6;
/** Tokens are renewed, and what was given before may be said later. */
const MAX_KEPT = 64;
const SCHEME = /^(?:bearer|basic|token|apikey)\s+(.+)$/i;

export class HandedSecrets {
  /** Oldest first: each time one is handed out it is the newest. */
  readonly #handed = new Set<string>();
  /** Longest first, so that no secret is cut by one that it holds. */
  #values: readonly string[] = [];

  /** @param value as it was handed over: a whole header too, whose credential is looked for by itself */
  add(value: string): void {
    const [, credential = value] = SCHEME.exec(value) ?? [];
    for (const one of new Set([credential, encodeURIComponent(credential)])) {
      if (one.length < SHORTEST) continue;
      const known = this.#handed.delete(one);
      this.#handed.add(one);
      if (known) continue;
      for (const oldest of this.#handed) {
        if (this.#handed.size <= MAX_KEPT) break;
        this.#handed.delete(oldest);
      }
      this.#values = [...this.#handed].sort((a, b) => b.length - a.length);
    }
  }

  in(text: string): boolean {
    return this.#values.length > 0 && this.#values.some((value) => text.includes(value));
  }

  /** The text as pieces, with undefined for each secret between them. */
  cut(text: string): readonly (string | undefined)[] {
    let pieces: readonly (string | undefined)[] = [text];
    for (const value of this.#values) {
      pieces = pieces.flatMap((piece) => (piece?.includes(value) ? piece.split(value).flatMap((part, i) => (i === 0 ? [part] : [undefined, part])) : [piece]));
    }
    return pieces;
  }
}

/** Masking that knows these secrets as well. */
export function knowing(masking: SessionMasking, secrets: HandedSecrets): SessionMasking {
  const mark = masking.mask('', 'redact', 'secret');
  const scrub = (text: string): Scrubbed => {
    if (!secrets.in(text)) return masking.scrub(text);
    const findings: Finding[] = [];
    let out = '';
    for (const piece of secrets.cut(text)) {
      if (piece === undefined) {
        findings.push({ label: 'secret', by: 'secret', mask: 'redact', at: [out.length, out.length + mark.length], shape: '' });
        out += mark;
        continue;
      }
      const scrubbed = masking.scrub(piece);
      for (const { at, ...finding } of scrubbed.findings) findings.push({ ...finding, at: [at[0] + out.length, at[1] + out.length] });
      out += scrubbed.text;
    }
    return { text: out as MaskedText, findings };
  };
  return {
    ...masking,
    scrub,
    mask: (value, kind, label) => (secrets.in(value) ? mark : masking.mask(value, kind, label)),
    *pieces(text) {
      for (const piece of secrets.cut(text)) {
        if (piece === undefined) yield { text: mark, findings: [{ label: 'secret', by: 'secret', mask: 'redact', at: [0, mark.length], shape: '' }] };
        else yield* masking.pieces(piece);
      }
    },
    // A secret may lie across any two chunks, however far they are apart.
    stream: () => heldBack(scrub),
    mayHold: (bytes, start, end) => masking.mayHold(bytes, start, end) || secrets.in(bytes.toString('latin1', start, end)),
    suspicious: (bytes) => masking.suspicious(bytes) || secrets.in(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')),
  };
}

function heldBack(scrub: (text: string) => Scrubbed): MaskStream {
  let text = '';
  return {
    push(chunk) {
      text += chunk;
      return { text: '' as MaskedText, findings: [] };
    },
    end() {
      const scrubbed = scrub(text);
      text = '';
      return scrubbed;
    },
  };
}
