/**
 * The canonical text of an entry's body. The two that come with every operation are put together by hand, in the order of
 * their keys that canonical JSON demands: sorting and walking what is always the same costs more than the rest of an entry.
 * `canonical` remains the one that says what is right; a test holds them together.
 */
import type { EntryBody } from '../../contract/recording.ts';
import { canonical, canonicalKept, canonicalText } from './canonical.ts';

type Of<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Names of what is written by hand. Anything else that a body may have brought along sends it the general way. */
const INTENT: ReadonlySet<string> = new Set(['type', 'operation', 'digest', 'payload', 'params', 'facts', 'verdict']);
const ROWS: ReadonlySet<string> = new Set(['kind', 'columns', 'rows', 'truncated', 'findings']);
const OUTCOME: ReadonlySet<string> = new Set(['type', 'operation', 'outcome', 'rows', 'masked', 'error', 'answer', 'tookMs']);

/** @throws Problem `not-canonical` for what canonical JSON cannot hold. */
export function entryText(body: EntryBody): string {
  if (body.type === 'operation.intent' && known(body, INTENT)) return intentText(body);
  if (body.type === 'operation.outcome' && known(body, OUTCOME)) return outcomeText(body);
  return canonical(body);
}

function known(body: object, names: ReadonlySet<string>): boolean {
  for (const name in body) if (!names.has(name)) return false;
  return true;
}

function intentText({ digest, facts, operation, params, payload, verdict }: Of<'operation.intent'>): string {
  const given = params === undefined ? '' : `"params":${canonical(params)},`;
  return (
    `{"digest":${canonicalText(digest)},"facts":${canonicalKept(facts)},"operation":${canonicalText(operation)},${given}` +
    `"payload":${canonicalText(payload)},"type":"operation.intent","verdict":${canonicalKept(verdict)}}`
  );
}

function outcomeText({ answer, error, masked, operation, outcome, rows, tookMs }: Of<'operation.outcome'>): string {
  let text = '{';
  if (answer !== undefined) text += `"answer":${answer.kind === 'rows' && known(answer, ROWS) ? rowsText(answer) : canonical(answer)},`;
  if (error !== undefined) text += `"error":${canonical(error)},`;
  text += `"masked":${canonical(masked)},"operation":${canonicalText(operation)},"outcome":${canonicalText(outcome)},`;
  if (rows !== undefined) text += `"rows":${canonical(rows)},`;
  return `${text}"tookMs":${canonical(tookMs)},"type":"operation.outcome"}`;
}

type RowsAnswer = Extract<NonNullable<Of<'operation.outcome'>['answer']>, { kind: 'rows' }>;

function rowsText({ columns, findings, rows, truncated }: RowsAnswer): string {
  const found = findings.length === 0 ? '[]' : canonical(findings);
  return `{"columns":${canonicalKept(columns)},"findings":${found},"kind":"rows","rows":${canonical(rows)},"truncated":${truncated}}`;
}
