/**
 * What people did to and through a shared gateway, as it exports it: one chain, signed to its end. Read here by the code that
 * reads a laptop's record, so that whoever checks needs no gateway.
 */
import { join } from 'node:path';
import { orMissing } from './auditReader.ts';
import { type ChainReading, readChain } from './chainReader.ts';
import { readCheckpoint } from './checkpoint.ts';

export const ACTS_FILE = 'acts.jsonl';
export const ACTS_CHECKPOINT_FILE = 'acts-checkpoint.json';
export const ACTS_KEY_FILE = 'acts-key.pub.pem';

/** Plain data only; its type says what happened. */
export type ActBody = { readonly type: string } & Readonly<Record<string, unknown>>;

/** What the chains say of themselves; everything else is what somebody did. */
export const ACT = {
  /** Signing began: `lines` were there before, unsigned. In the gateway's own with `chains`, those that there were. */
  signedFrom: 'audit.signed-from',
  /** In the gateway's own: there is another chain now. */
  begun: 'audit.begun',
  /** The end that was found was none that the gateway had signed; it went on, and its next signature does not vouch for that. */
  unsigned: 'audit.unsigned',
} as const;

export interface ActsVerification {
  readonly chain: string;
  readonly entries: number;
  readonly head: string;
  readonly problems: readonly string[];
  /** What holds, and proves less than the rest. */
  readonly notes: readonly string[];
  /** Fingerprint of the key that signed its end. */
  readonly key: string | undefined;
  /** Chains that it says there are; of the gateway's own. */
  readonly others: ReadonlySet<string>;
  /** Hash at the place that was asked for. */
  readonly at: string | undefined;
}

/** @param place a length at which the hash is wanted @returns undefined where there is none @throws errors of the file system */
export async function verifyActs(directory: string, place?: number): Promise<ActsVerification | undefined> {
  const checkpoint = await readCheckpoint(directory, ACTS_CHECKPOINT_FILE, ACTS_KEY_FILE);
  const view = new ActsView();
  let at: string | undefined;
  let atSigned: string | undefined;
  const signed = checkpoint.state === 'good' ? checkpoint.checkpoint : undefined;
  const reading = await orMissing(
    readChain(join(directory, ACTS_FILE), {
      session: undefined,
      onLine: (text, seq, _offset, head) => {
        view.take(text, seq);
        if (place === seq + 1) at = head;
        if (signed?.entries === seq + 1) atSigned = head;
      },
    }),
  );
  if (!reading && checkpoint.state === 'none') return undefined;
  const chain = view.chain ?? 'an unknown chain';
  const problems = [...view.problems, ...endProblems()];
  return {
    chain,
    entries: reading?.entries ?? 0,
    head: reading?.head ?? '',
    problems: problems.map((problem) => `What was done (${chain}): ${problem}.`),
    notes: view.notes.map((note) => `What was done (${chain}): ${note}.`),
    key: signed?.key,
    others: view.others,
    at,
  };

  function endProblems(): string[] {
    if (!reading) return ['its lines were removed, and what signed them is there'];
    return [...chainProblems(reading), ...signatureProblems(reading)];
  }

  function signatureProblems({ entries }: ChainReading): string[] {
    if (checkpoint.state === 'none')
      return [
        'it is not signed: somebody took the signature away, or no gateway that signs has taken this store over yet, which waits until none runs that does not',
      ];
    if (checkpoint.state === 'bad') return [`its signature does not hold: ${checkpoint.why}`];
    const { entries: covered, head } = checkpoint.checkpoint;
    if (entries < covered) return [`its end was removed: it has ${entries} lines, and ${covered} were signed`];
    if (atSigned !== head) return ['it was rewritten: it does not contain what was signed'];
    return entries > covered ? [`its last ${entries - covered} lines are not signed: they were added by something that does not hold the gateway’s key`] : [];
  }
}

function chainProblems({ problem, torn }: ChainReading): string[] {
  return [...(problem === undefined ? [] : [problem]), ...(torn > 0 ? ['its last line is not whole'] : [])];
}

/** Gathers what the lines say of their chain, and of others. */
class ActsView {
  readonly problems: string[] = [];
  readonly notes: string[] = [];
  readonly others = new Set<string>();
  chain: string | undefined;
  #from = false;

  take(text: string, seq: number): void {
    const line = lineOf(text);
    if (!line) {
      this.problems.push(`line ${seq + 1} is not an entry that this version understands`);
      return;
    }
    const { at, body, chain } = line;
    this.chain ??= chain;
    if (chain !== this.chain) this.problems.push(`line ${seq + 1} is one of ${chain}`);
    if (body.type === ACT.unsigned) this.problems.push(`at line ${seq + 1}, on ${at}, the gateway found what it had not signed: ${String(body.problem)}`);
    else if (body.type === ACT.begun) this.#other(String(body.chain), seq);
    else if (body.type === ACT.signedFrom) this.#signedFrom(body, seq, at);
  }

  #signedFrom({ chains, lines }: ActBody, seq: number, at: string): void {
    if (this.#from || lines !== seq) this.problems.push(`line ${seq + 1} says that signing began there, and it had begun before`);
    this.#from = true;
    if (seq > 0)
      this.notes.push(`its first ${seq} lines are from before the gateway signed, which began on ${at}. They hold together; who wrote them is not proved`);
    if (Array.isArray(chains)) for (const chain of chains) this.#other(String(chain), seq);
  }

  #other(chain: string, seq: number): void {
    if (this.others.has(chain)) this.problems.push(`line ${seq + 1} begins ${chain}, which had begun before: it was removed`);
    this.others.add(chain);
  }
}

interface ActLine {
  readonly at: string;
  readonly chain: string;
  readonly body: ActBody;
}

function lineOf(text: string): ActLine | undefined {
  try {
    const { at, body, chain } = JSON.parse(text) as Partial<ActLine>;
    return typeof at === 'string' && typeof chain === 'string' && typeof body?.type === 'string' ? { at, chain, body } : undefined;
  } catch {
    return undefined;
  }
}
