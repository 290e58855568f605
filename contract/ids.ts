/** Branded identifiers: a session id can not be passed where an operation id is meant. */
declare const brand: unique symbol;
export type Branded<Name extends string> = string & { readonly [brand]: Name };

export type SessionId = Branded<'SessionId'>;
export type OperationId = Branded<'OperationId'>;
export type ConversationId = Branded<'ConversationId'>;
export type ApprovalId = Branded<'ApprovalId'>;
export type GrantId = Branded<'GrantId'>;
/** Keyed digest (hex) over the exact bytes and context of one operation: what an approval is bound to. */
export type Digest = Branded<'Digest'>;

/** Longest id that any boundary accepts, in characters. */
export const MAX_ID_LENGTH = 128;
