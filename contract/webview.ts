/**
 * What the extension and its panels say to each other. Snapshots go out to a panel, whole, never deltas; intents come
 * back and are decoded on arrival: a panel's message is untrusted until then. A panel sends `ready` once it listens, and
 * gets its first snapshot in answer; nothing is posted before.
 *
 * The page that hosts a panel is `<body data-panel="approvals">` with one module script, so one bundle knows which it is.
 */
import { z } from 'zod';
import { Person } from './actor.ts';
import { ANSWER_RESULTS, ApprovalAnswer, DecidedApproval, GrantView, PendingApproval } from './approval.ts';
import { OperationDetail, RuleHistory } from './control.ts';
import { AccessAsk } from './gateway/approvals.ts';
import { MAX_STEPS, Step } from './timeline.ts';
import { MaskKind } from './verdict.ts';

const PANELS = ['approvals', 'operation'] as const;
export type Panel = (typeof PANELS)[number];

const id = z.string().min(1).max(128);

/** How the extension stands with the proxy: `on` is the only state in which an answer reaches anyone. */
export const LinkView = z.object({
  state: z.enum(['starting', 'on', 'off', 'failed']),
  /** For anything but `on`: what it means and what to do. */
  sentence: z.string().max(1000).optional(),
});
export type LinkView = z.infer<typeof LinkView>;

/** What a panel shows of a rule that is proposed: the files stay with the extension. */
const ProposalView = z.discriminatedUnion('helps', [
  z.object({ helps: z.literal(false), why: z.string().max(1000) }),
  z.object({ helps: z.literal(true), rule: z.string().max(10_000), covers: z.string().max(1000), history: RuleHistory }),
]);
export type ProposalView = z.infer<typeof ProposalView>;

/** Extension → `approvals` panel. */
export const ToApprovals = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('snapshot'),
    link: LinkView,
    /** Absent until the proxy has said who the person is. */
    me: Person.optional(),
    pending: z.array(PendingApproval).max(500),
    /** Ids of those that the person may answer, where somebody else has worked it out; absent: as their verdicts say. */
    mine: z.array(id).max(500).optional(),
    /** Ids of those that the person asked and others answer: they can be taken back. */
    own: z.array(id).max(500).optional(),
    /** Ids of those for whose like access over a time can be asked for. */
    requestable: z.array(id).max(500).optional(),
    /** Requests for access over a time that concern this person. */
    access: z.array(AccessAsk).max(500).optional(),
    decided: z.array(DecidedApproval).max(50),
    /** Ids of those decisions that a rule of the person's own could speak of; absent: none is offered. */
    ruleable: z.array(id).max(50).optional(),
    grants: z.array(GrantView).max(200),
    /** Set when nothing can be forwarded: what and what to do. */
    halted: z.string().max(1000).optional(),
    /** Not zero: the policy files have problems and the last good policy is in force. */
    policyProblems: z.number().int().nonnegative(),
    /** The extension's clock when this was sent, epoch milliseconds: deadlines are by it, and a remote editor's page has another. */
    now: z.number().optional(),
  }),
  /** What became of an answer; `failed` when it did not reach the proxy: the ask is still open. */
  z.object({ type: z.literal('answered'), id, result: z.enum([...ANSWER_RESULTS, 'failed']), sentence: z.string().max(1000).optional() }),
  /** The rule that `proposeRule` asked for. */
  z.object({ type: z.literal('proposal'), operation: id, proposal: ProposalView }),
  /** It stands in the policy file now, in an editor. */
  z.object({ type: z.literal('ruleAdded'), operation: id }),
  /** Bring one ask into view (a person clicked a notification). Never answers it. */
  z.object({ type: z.literal('reveal'), id }),
]);
export type ToApprovals = z.infer<typeof ToApprovals>;
export type ApprovalsSnapshot = Extract<ToApprovals, { type: 'snapshot' }>;

/** What a person says is wrong with a mask. Holds no value. */
export const MaskReport = z.object({
  kind: z.enum(['should-show', 'should-hide']),
  /** Column of a table, or what a detector took it for. */
  name: z.string().max(300),
  by: z.string().max(60).optional(),
  mask: MaskKind.optional(),
  note: z.string().max(1000),
  /** For `countersign.yaml`, where a line would help. */
  line: z.string().max(2000).optional(),
});
export type MaskReport = z.infer<typeof MaskReport>;

/** Extension → `operation` panel. */
export const ToOperation = z.discriminatedUnion('type', [
  z.object({ type: z.literal('operation'), detail: OperationDetail }),
  /** Could not be had: what happened and what to do. The panel keeps what it showed before. */
  z.object({ type: z.literal('missing'), operation: id, sentence: z.string().max(1000) }),
  /** What the operation's agent did in one go (its conversation, or a session), as far as a panel is given it. */
  z.object({ type: z.literal('timeline'), of: id, steps: z.array(Step).max(MAX_STEPS) }),
  /** What came of a report. */
  z.object({ type: z.literal('maskReported'), operation: id, sentence: z.string().max(5000) }),
]);
export type ToOperation = z.infer<typeof ToOperation>;

/** Commands of the extension that a panel may run: a closed list, without arguments, and nothing that decides. */
export const PANEL_COMMANDS = ['start', 'doctor', 'showLog', 'openPolicy', 'openSessions', 'openConnections'] as const;

/** Longest text that a panel may put on the clipboard, in characters. */
const MAX_COPY_CHARS = 1_048_576;

const shared = [
  z.object({ type: z.literal('ready') }),
  /** Open one operation in its editor tab. */
  z.object({ type: z.literal('open'), operation: id }),
  z.object({ type: z.literal('copy'), text: z.string().max(MAX_COPY_CHARS) }),
  /** Show a rule where it is written: `file` and `line` as a `RuleRef` gave them. */
  z.object({ type: z.literal('openRule'), file: z.string().max(1000), line: z.number().int().positive() }),
  z.object({ type: z.literal('run'), command: z.enum(PANEL_COMMANDS) }),
] as const;

/** `approvals` panel → extension. */
export const FromApprovals = z.discriminatedUnion('type', [
  ...shared,
  /** A person's click: bound to the id and the digest that were on the screen. */
  z.object({ type: z.literal('answer'), answer: ApprovalAnswer }),
  z.object({ type: z.literal('endGrant'), id }),
  /** Ask the gateway for access over a time, beginning with what this question asks. Opens the editor's own form. */
  z.object({ type: z.literal('requestAccess'), id }),
  /** What a rule would be that lets operations like this one through. Changes nothing. */
  z.object({ type: z.literal('proposeRule'), operation: id }),
  /** Put exactly this rule, which was on the screen, into the person's policy file, in an editor. */
  z.object({ type: z.literal('addRule'), operation: id, rule: z.string().max(10_000) }),
]);
export type FromApprovals = z.infer<typeof FromApprovals>;

/** `operation` panel → extension. */
export const FromOperation = z.discriminatedUnion('type', [
  ...shared,
  /** Read the session's chain again and say whether it holds. */
  z.object({ type: z.literal('verify'), session: id }),
  /** Show another operation of the session in the same place. */
  z.object({ type: z.literal('step'), operation: id }),
  /** Keep a note on this machine that a mask is wrong, and copy the line of policy that would mend it. */
  z.object({ type: z.literal('reportMask'), operation: id, report: MaskReport }),
]);
export type FromOperation = z.infer<typeof FromOperation>;
