/** What can be wrong with what was masked, and the line of policy that would put it right. Nothing here holds a value. */
import type { OperationDetail } from '../../contract/control.ts';
import type { Answer, Finding } from '../../contract/response.ts';
import { say } from '../parts/strings.ts';
import { maskedColumns } from './answer.ts';
import { word } from './ruleText.ts';

/** More choices than this make no list that a person reads. */
const MAX_CHOICES = 200;

export interface WrongMask {
  readonly kind: 'should-show' | 'should-hide';
  readonly name: string;
  /** What found it; absent where nothing did. */
  readonly by?: string;
  readonly mask?: Finding['mask'];
  readonly text: string;
  /** For `countersign.yaml`; absent where no line would help. */
  readonly line?: string;
}

export function wrongMasks(answer: Answer, { facts, summary }: OperationDetail): WrongMask[] {
  const { connection } = summary;
  const masked = maskedColumns(answer).map(({ by, label, mask, name }): WrongMask => {
    const line = lineToShow(connection, label, by);
    return { kind: 'should-show', name, by, mask, text: say('wrong.shouldShow', { name }), ...(line !== undefined && { line }) };
  });
  const columns = answer.kind === 'rows' ? answer.columns : [];
  const hidden = new Set(masked.map(({ name }) => name));
  const [table, ...others] = facts.targets.filter(({ kind }) => kind === 'table' || kind === 'view');
  const open = [...new Set(columns)]
    .filter((name) => !hidden.has(name))
    .map((name): WrongMask => {
      // Of several tables it cannot be told whose column it is, and an expression is nobody's.
      const line = table && others.length === 0 && facts.sql ? lineToHide(connection, table.name, name) : undefined;
      return { kind: 'should-hide', name, text: say('wrong.shouldHide', { name }), ...(line !== undefined && { line }) };
    });
  return [...masked, ...open].slice(0, MAX_CHOICES);
}

function lineToShow(connection: string, label: string, by: string): string | undefined {
  if (by === 'opaque') return undefined;
  if (by === 'column') return `# ${say('wrong.takeOut')}\nconnections: { ${word(connection)}: { sensitive: { ${word(label)}: … } } }\n`;
  return `# ${say('wrong.everywhere')}\ndefaults: { detectors: { ${word(by)}: off } }\n`;
}

function lineToHide(connection: string, table: string, column: string): string | undefined {
  // As the policy takes them: a table's or a column's own name holds no dot and no wildcard.
  if (/[*?]/.test(table + column) || column.includes('.') || column.startsWith('?')) return undefined;
  return `# ${say('wrong.add')}\nconnections: { ${word(connection)}: { sensitive: { ${word(`${table}.${column}`)}: redact } } }\n`;
}
