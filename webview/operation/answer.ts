/** A masked answer made ready for a table: which cells hold masks, and what stood there before. */
import type { Answer, Finding } from '../../contract/response.ts';

export type RowsAnswer = Extract<Answer, { kind: 'rows' }>;
export type TextAnswer = Extract<Answer, { kind: 'text' }>;

export interface TableCell {
  readonly value: string | null;
  readonly findings: readonly Finding[];
  /** What stood there before: the value where it may be seen, its outline otherwise. Absent where nothing was masked. */
  readonly before?: { readonly text: string | null; readonly exact: boolean };
}

/** Rows of a table shown at once. */
export const PAGE_ROWS = 50;

/** @param raw the same answer before masking, where it is in memory and this person may see it */
export function tableRows(answer: RowsAnswer, raw: Answer | undefined, from: number, count: number): TableCell[][] {
  const found = new Map<string, Finding[]>();
  for (const finding of answer.findings) {
    const key = finding.at.join(':');
    const there = found.get(key);
    if (there) there.push(finding);
    else found.set(key, [finding]);
  }
  const rawRows = raw?.kind === 'rows' ? raw.rows : undefined;
  return answer.rows.slice(from, from + count).map((row, r) =>
    row.map((value, c): TableCell => {
      const findings = found.get(`${from + r}:${c}`) ?? [];
      const before = rawRows?.[from + r]?.[c];
      if (before !== undefined && (before !== value || findings.length > 0)) return { value, findings, before: { text: before, exact: true } };
      return findings.length > 0 ? { value, findings, before: { text: findings.map((f) => f.shape).join(' '), exact: false } } : { value, findings };
    }),
  );
}

export interface MaskedColumn {
  /** Column of a table, or the label for a text. */
  readonly name: string;
  readonly count: number;
  readonly label: string;
  readonly by: string;
  readonly mask: Finding['mask'];
}

/** What was masked, told once for each column and kind: the same that hovering tells, for who does not hover. */
export function maskedColumns(answer: Answer): MaskedColumn[] {
  const out = new Map<string, MaskedColumn>();
  for (const { at, label, by, mask } of answer.findings) {
    const name = answer.kind === 'rows' ? (answer.columns[at[1]] ?? label) : label;
    const key = JSON.stringify([name, label, by, mask]);
    out.set(key, { name, label, by, mask, count: (out.get(key)?.count ?? 0) + 1 });
  }
  return [...out.values()];
}

export interface TextPart {
  readonly text: string;
  readonly finding?: Finding;
}

/** A masked value cut at its chips: `‹email·1›` and the like; a value without one that was masked is a chip as a whole. */
export function chipParts(value: string, findings: readonly Finding[]): TextPart[] {
  if (findings.length === 0) return value === '' ? [] : [{ text: value }];
  const parts: TextPart[] = [];
  let at = 0;
  let n = 0;
  for (const match of value.matchAll(/‹[^‹›]{1,80}›/g)) {
    if (match.index > at) parts.push({ text: value.slice(at, match.index) });
    const finding = findings[Math.min(n++, findings.length - 1)];
    parts.push({ text: match[0], ...(finding && { finding }) });
    at = match.index + match[0].length;
  }
  const [first] = findings;
  if (n === 0) return [{ text: value, ...(first && { finding: first }) }];
  if (at < value.length) parts.push({ text: value.slice(at) });
  return parts;
}

/** A masked text cut at its findings, which give offsets in it. Offsets that make no sense are left out. */
export function textParts({ text, findings }: TextAnswer): TextPart[] {
  const parts: TextPart[] = [];
  let at = 0;
  for (const finding of [...findings].sort((a, b) => a.at[0] - b.at[0])) {
    const [start, end] = finding.at;
    if (start < at || end <= start || end > text.length) continue;
    if (start > at) parts.push({ text: text.slice(at, start) });
    parts.push({ text: text.slice(start, end), finding });
    at = end;
  }
  if (at < text.length) parts.push({ text: text.slice(at) });
  return parts;
}
