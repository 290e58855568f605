/** The parts a proxy is put together from, as its host uses them; `assemble.ts` makes the real ones. */
import type { OperationDetail, OperationPage, OperationQuery, PolicyView, VerifyReport, Workspace } from '../../contract/control.ts';
import type { ApprovalQueue } from '../approval/queue.ts';
import type { LanguageService } from '../control/language.ts';
import type { SessionMasking, TokenVault } from '../masking/masking.ts';
import type { OrganisationPolicy } from '../policy/organisation.ts';
import type { Policy } from '../policy/policy.ts';
import type { PolicyInForce } from '../policy/proposeRule.ts';
import type { Protocol } from '../protocols/protocol.ts';
import type { Recorder } from '../recording/recorder.ts';

/** The policy in force and what is wrong with its files. */
export interface PolicyPart {
  readonly current: () => Policy;
  readonly view: () => PolicyView;
  readonly inForce: () => PolicyInForce;
  /** The organisation's policy, as a gateway hands it over. */
  readonly organisation: Pick<OrganisationPolicy, 'expect' | 'take' | 'text'>;
  /** It is another one now, or its time is over. Resolves when that is in force. */
  readonly signedChanged: () => Promise<void>;
  /** The policy files of a window's folders; an empty list when it has gone. */
  readonly workspace: (window: string, workspace: Workspace) => void | Promise<void>;
  stop(): void | Promise<void>;
}

/** The record, and questions to it. */
interface RecordPart extends Recorder {
  readonly revision: () => number;
  operations(query: OperationQuery): OperationPage | Promise<OperationPage>;
  operation(id: string, quick?: boolean): OperationDetail | null | Promise<OperationDetail | null>;
  verify(session: string | undefined): Promise<VerifyReport>;
  stop(reason: string): Promise<void>;
}

export interface Parts {
  readonly policy: PolicyPart;
  readonly record: RecordPart;
  readonly approvals: ApprovalQueue;
  readonly masking: (connection: string, vault?: TokenVault) => SessionMasking;
  readonly protocols: readonly Protocol[];
  readonly language: LanguageService;
}

/** What the host tells the parts' makers to call. */
export interface PartEvents {
  /** Something that a snapshot shows has changed. */
  readonly changed: () => void;
  readonly policyChanged: () => void;
  /** A person ended a grant that these sessions used. */
  readonly grantEnded: (sessions: readonly string[]) => void;
  readonly halted: (sentence: string) => void;
}
