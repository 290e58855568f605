/**
 * Questions about laptops' own connections, which policy wants others to answer. They wait where every question waits. What is
 * asked is the laptop's word, and so it is called; who asks is the tunnel's person; who answers is what the policy here says,
 * narrowed by what the laptop's own files say. Nothing of it counts for a connection of the gateway.
 */
import { createHash } from 'node:crypto';
import { LaptopOutcome, LaptopQuestion, MAX_LAPTOP_QUESTION_BYTES } from '../../contract/gateway/laptop.ts';
import type { StreamOpening } from '../../contract/tunnel.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { Approvals, Question } from '../../proxy/approval/approvals.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Policy } from '../../proxy/policy/policy.ts';
import type { ClientIdentity } from '../../proxy/protocols/protocol.ts';
import type { MuxStream } from '../../proxy/uplink/muxStream.ts';
import type { TunnelPrincipal } from '../tunnel/principal.ts';

/** No connection of a policy can be called so: a grant for one is never a grant for the other. */
const ON_A_LAPTOP = ' (on a laptop)';
const NOTE = 'This runs on the requester’s own machine; what is shown here is what that machine says.';
const NO_DRY_RUN = 'It would run on the requester’s own machine.';
const MAX_NOTES = 20;

export interface LaptopAskParts {
  readonly approvals: Approvals;
  readonly policy: () => Policy;
  readonly log: Log;
}

interface Asking {
  readonly principal: TunnelPrincipal;
  readonly opening: StreamOpening;
  readonly identity: ClientIdentity;
  readonly stream: MuxStream;
}

export async function askForLaptop({ approvals, policy, log }: LaptopAskParts, { principal, opening, identity, stream }: Asking): Promise<void> {
  try {
    const said = LaptopQuestion.parse(JSON.parse(await whole(stream)));
    const question = questionOf(said, policy(), { principal, opening, identity });
    const ended = new AbortController();
    stream.once('close', () => ended.abort('the laptop that asked took it back'));
    if (stream.destroyed) return;
    if ('refused' in question) {
      stream.end(JSON.stringify({ answer: 'denied', approval: 'none', why: 'not-asked', note: question.refused, waitedMs: 0 } satisfies LaptopOutcome));
      return;
    }
    const outcome = await approvals.ask(question, ended.signal);
    // Used up here, whatever becomes of it there.
    const void_ = outcome.answer === 'approved' && !approvals.spend(outcome.approval);
    const answer = void_ ? { answer: 'denied', approval: outcome.approval, why: 'withdrawn', waitedMs: outcome.waitedMs } : outcome;
    approvals.ended(question.operation, '');
    if (!stream.destroyed) stream.end(JSON.stringify(LaptopOutcome.parse(answer)));
  } catch (cause) {
    log.warn('laptop.not-asked', { cause });
    stream.reset('gateway-refused', 'The gateway could not take the question. Update Countersign, here or there.');
  }
}

function questionOf(said: LaptopQuestion, policy: Policy, who: Pick<Asking, 'principal' | 'opening' | 'identity'>): Question | { readonly refused: string } {
  const { principal, opening, identity } = who;
  if (policy.connections.get(opening.connection)?.via === 'gateway')
    return { refused: `${opening.connection} is a connection of the gateway; a connection of your own must be called otherwise` };
  const context = {
    actor: identity.actor,
    connection: opening.connection,
    protocol: said.protocol,
    surface: opening.surface,
    conversationRead: said.conversationSummary.sensitive.map((target) => ({ target, sensitive: true })),
  };
  const verdict = together(policy.decide(said.facts, context), said.verdict, policy.version);
  if ('refused' in verdict) return verdict;
  const { shape, reason, ...rest } = said;
  // Ids are the laptop's word: they must not be those of something here.
  const id = (prefix: string, text: string): string => `${prefix}_${createHash('sha256').update(`${principal.id} ${text}`).digest('base64url').slice(0, 22)}`;
  return {
    ...rest,
    operation: id('lop', said.operation),
    session: id('lap', said.session),
    conversation: identity.conversation.id,
    actor: identity.actor,
    connection: `${opening.connection.slice(0, 180)}${ON_A_LAPTOP}`,
    facts: { ...said.facts, notes: [NOTE, ...said.facts.notes].slice(0, MAX_NOTES) },
    verdict,
    noDryRun: NO_DRY_RUN,
    ...(shape !== undefined && { shape }),
    ...(reason !== undefined && { reason }),
  };
}

/** The policy here and the laptop's, which has files of its own below it: whoever answers must satisfy both. */
function together(own: Verdict, laptop: Verdict, policyVersion: string): Verdict | { readonly refused: string } {
  if (own.decision === 'deny') return { refused: `rule ${own.rule.id} of the gateway denies it: ${own.say ?? own.because}` };
  const { escalate: _escalate, ...terms } = laptop;
  const strict: Verdict = { ...terms, decision: 'ask', preview: 'none', policyVersion };
  if (own.decision === 'allow') return strict;
  const approvers = own.approvers.filter((who) => laptop.approvers.includes(who));
  if (approvers.length === 0) return { refused: 'nobody could approve it under the policy of the gateway and that of this machine' };
  return {
    ...strict,
    approvers,
    quorum: Math.max(own.quorum, laptop.quorum),
    expiresMs: Math.min(own.expiresMs, laptop.expiresMs),
    ...((own.freshLogin === true || laptop.freshLogin === true) && { freshLogin: true }),
    // It lets more people answer: only where nothing narrows who may.
    ...(own.escalate && approvers.length === own.approvers.length && { escalate: own.escalate }),
  };
}

function whole(stream: MuxStream): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > MAX_LAPTOP_QUESTION_BYTES) stream.reset('too-large', 'The question is too large to be shown to anyone.');
    });
    stream.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    stream.once('close', () => reject(new Error('the question did not come whole')));
  });
}
