/**
 * The canonical text of an entry's body. The two that come with every operation are put together by hand, in the order of
 * their keys that canonical JSON demands: sorting and walking what is always the same costs more than the rest of an entry.
 * `canonical` remains the one that says what is right; a test holds them together.
 */
import type { EntryBody } from '../../contract/recording.ts';
import { canonical, canonicalKept, canonicalLongText, canonicalText } from './canonical.ts';
import { type Text, TextWriter } from './utf8.ts';

type Of<T extends EntryBody['type']> = Extract<EntryBody, { type: T }>;

/** Names of what is written by hand. Anything else that a body may have brought along sends it the general way. */
const INTENT: ReadonlySet<string> = new Set(['type', 'operation', 'digest', 'payload', 'params', 'facts', 'verdict']);
const TEXT: ReadonlySet<string> = new Set(['kind', 'text', 'truncated', 'findings']);
const FINDING: ReadonlySet<string> = new Set(['label', 'by', 'mask', 'at', 'shape']);
const ROWS: ReadonlySet<string> = new Set(['kind', 'columns', 'rows', 'truncated', 'findings']);
const OUTCOME: ReadonlySet<string> = new Set(['type', 'operation', 'outcome', 'rows', 'masked', 'error', 'answer', 'tookMs']);

/** @throws Problem `not-canonical` for what canonical JSON cannot hold. */
export function entryText(body: EntryBody): Text {
  if (body.type === 'operation.intent' && known(body, INTENT)) return intentText(body);
  if (body.type === 'operation.outcome' && known(body, OUTCOME)) return outcomeText(body);
  return canonical(body);
}

function known(body: object, names: ReadonlySet<string>): boolean {
  for (const name in body) if (!names.has(name)) return false;
  return true;
}

function intentText({ digest, facts, operation, params, payload, verdict }: Of<'operation.intent'>): string {
  // A call's facts hold its arguments, and are its own: nothing is gained by keeping their text.
  const again = facts.mcp === undefined ? canonicalKept : canonical;
  const given = params === undefined ? '' : `"params":${canonical(params)},`;
  return (
    `{"digest":${canonicalText(digest)},"facts":${again(facts)},"operation":${canonicalText(operation)},${given}` +
    `"payload":${canonicalText(payload)},"type":"operation.intent","verdict":${again(verdict)}}`
  );
}

function outcomeText({ answer, error, masked, operation, outcome, rows, tookMs }: Of<'operation.outcome'>): Text {
  let text = '';
  if (error !== undefined) text += `"error":${canonical(error)},`;
  text += `"masked":${canonical(masked)},"operation":${canonicalText(operation)},"outcome":${canonicalText(outcome)},`;
  if (rows !== undefined) text += `"rows":${canonical(rows)},`;
  text += `"tookMs":${canonical(tookMs)},"type":"operation.outcome"}`;
  if (answer === undefined) return `{${text}`;
  const writer = new TextWriter().add('{"answer":');
  writeAnswer(answer, writer);
  return writer.add(`,${text}`).text;
}

type Answer = NonNullable<Of<'operation.outcome'>['answer']>;
type RowsAnswer = Extract<Answer, { kind: 'rows' }>;

function writeAnswer(answer: Answer, writer: TextWriter): void {
  if (answer.kind === 'rows' && known(answer, ROWS)) return void writer.add(rowsText(answer));
  if (answer.kind !== 'text' || !known(answer, TEXT)) return void writer.add(canonical(answer));
  const { findings, text, truncated } = answer;
  return void writer
    .add(`{"findings":${findingsText(findings)},"kind":"text","text":`)
    .add(canonicalLongText(text))
    .add(`,"truncated":${truncated}}`);
}

function findingsText(findings: Answer['findings']): string {
  let text = '[';
  for (const finding of findings) {
    if (text.length > 1) text += ',';
    if (!known(finding, FINDING)) {
      text += canonical(finding);
      continue;
    }
    const { at, by, label, mask, shape } = finding;
    text += `{"at":${canonical(at)},"by":${canonicalText(by)},"label":${canonicalText(label)},"mask":${canonicalText(mask)},"shape":${canonicalText(shape)}}`;
  }
  return `${text}]`;
}

function rowsText({ columns, findings, rows, truncated }: RowsAnswer): string {
  return `{"columns":${canonicalKept(columns)},"findings":${findingsText(findings)},"kind":"rows","rows":${canonical(rows)},"truncated":${truncated}}`;
}
