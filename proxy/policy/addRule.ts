/** Adds a rule to the text of a policy file, leaving every other character alone. Pure. */
import { isMap, isScalar, isSeq, parseDocument, stringify } from 'yaml';

export interface RuleAdded {
  readonly text: string;
  /** 1-based line of the rule's first line. */
  readonly line: number;
}

/** The rule as a list item of `rules:`, `indent` blanks in. */
export function ruleBlock(rule: object, indent = 2): string {
  return stringify([rule], { indent: 2, lineWidth: 0, flowCollectionPadding: true })
    .trimEnd()
    .split('\n')
    .map((line) => `${' '.repeat(indent)}${line}\n`)
    .join('');
}

/** Undefined where the file is written in a way that cannot be added to; an empty text becomes a file of this rule alone. */
export function addRule(text: string, rule: object): RuleAdded | undefined {
  const begun = text.trim() === '' ? 'version: 1\n' : text;
  const doc = parseDocument(begun);
  if (doc.errors.length > 0 || !isMap(doc.contents)) return undefined;
  const rules = doc.get('rules', true);
  let added: RuleAdded | undefined;
  if (rules === undefined) {
    const before = begun.endsWith('\n') ? begun : `${begun}\n`;
    added = putIn(`${before}rules:\n`, before.length + 'rules:\n'.length, ruleBlock(rule));
  } else if (isSeq(rules) && rules.items.length === 0 && rules.range) {
    const [from, to] = rules.range;
    const start = begun.slice(0, from).trimEnd();
    const rest = begun.slice(to);
    const after = rest.indexOf('\n');
    // What stands behind `[]` on its line is a comment, and stays there.
    const tail = after < 0 ? rest : rest.slice(0, after);
    added = putIn(`${start}${tail}\n${after < 0 ? '' : rest.slice(after + 1)}`, start.length + tail.length + 1, ruleBlock(rule));
  } else if (isScalar(rules) && rules.value === null && rules.range) {
    const end = begun.indexOf('\n', rules.range[0]);
    const at = end < 0 ? begun.length : end + 1;
    added = putIn(end < 0 ? `${begun}\n` : begun, end < 0 ? at + 1 : at, ruleBlock(rule));
  } else if (isSeq(rules) && !rules.flow && rules.range) {
    const [from, to] = rules.range;
    const column = from - (begun.lastIndexOf('\n', from - 1) + 1);
    // Behind the last line that is not empty: comments that belong to what follows stay with it.
    const last = begun.slice(0, to).trimEnd().length;
    const end = begun.indexOf('\n', last);
    added = putIn(end < 0 ? `${begun}\n` : begun, end < 0 ? begun.length + 1 : end + 1, ruleBlock(rule, column));
  }
  return added && saysOneMore(begun, added.text, rule) ? added : undefined;
}

function putIn(text: string, at: number, block: string): RuleAdded {
  const before = text.slice(0, at);
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  return { text: before + (eol === '\n' ? block : block.replaceAll('\n', eol)) + text.slice(at), line: before.split('\n').length };
}

/** The new text says what the old one said and one rule more; anything else is not proposed. */
function saysOneMore(before: string, after: string, rule: object): boolean {
  const old = (parseDocument(before).toJS() ?? {}) as { rules?: readonly unknown[] | null };
  const now = parseDocument(after);
  if (now.errors.length > 0) return false;
  const { rules, ...rest } = now.toJS() as { rules?: readonly unknown[] };
  const { rules: rulesBefore, ...restBefore } = old;
  return JSON.stringify(rest) === JSON.stringify(restBefore) && JSON.stringify(rules) === JSON.stringify([...(rulesBefore ?? []), rule]);
}
