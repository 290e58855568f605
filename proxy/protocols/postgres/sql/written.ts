/** What a statement has put into the columns of its target: RETURNING, `excluded` and rewrite rules read it back at once. */
import type { Relation } from './catalog.ts';
import { relationColumns } from './from.ts';
import type { Context, Item } from './scope.ts';
import { type Column, computed, settled, type Taint, unite, type Value } from './value.ts';

/** Into which column is not known. */
const SOME = '*';

export class Written {
  readonly #values = new Map<string, Value[]>();
  /** A rule gives back something else in place of the target's columns. */
  returnsOther = false;

  add(column: string | undefined, value: Value): void {
    const name = column ?? SOME;
    this.#values.set(name, [...(this.#values.get(name) ?? []), value]);
  }

  /** The target as it may be afterwards, and as the rows that failed to go in. */
  after(context: Context, item: Item): Item {
    if (this.#values.size === 0) return item;
    const own = item.relation && relationColumns(context, item.relation);
    // An alias may rename columns; what was written was named by the table's own names.
    const columns = item.columns.map((column, i) => this.#with(column, own?.[i]?.name ?? column.name, item.relation));
    return { ...item, columns };
  }

  /** A row of the relation, under its own names. */
  row(context: Context, relation: Relation): readonly Column[] {
    return relationColumns(context, relation).map((column) => this.#with(column, column.name, relation));
  }

  #with(column: Column, name: string, relation: Relation | undefined): Column {
    const generated = relation?.columns.find((c) => c.name === name)?.generated !== undefined;
    const all = generated || this.#values.has(SOME);
    const written = all ? [computed([...this.#values.values()].flat())] : (this.#values.get(name) ?? []);
    return written.length === 0 ? column : { name: column.name, value: joined(column.value, written) };
  }
}

function joined(before: Value, written: readonly Value[]): Value {
  const taints: readonly Taint[] = unite([before.taints, ...written.map(settled)]);
  return { ...before, taints, keeps: before.keeps && written.every((value) => value.keeps) };
}
