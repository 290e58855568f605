/** What the sessions of one connection share. */
import type { Engine } from '../../pipeline/engine.ts';
import type { PostgresConnection } from '../../policy/policy.ts';
import type { CatalogKeeper } from './catalogKeeper.ts';
import type { Reading } from './flight.ts';
import type { SqlClassifier, StatementInfo } from './sql/classifier.ts';

export interface Ground {
  readonly engine: Engine;
  readonly connection: PostgresConnection;
  readonly classifier: SqlClassifier;
  readonly catalogs: CatalogKeeper;
  /** What statements are understood with now: the same object as long as nothing changed. Undefined: the catalog must be read first. */
  reading(searchPath: readonly string[]): Reading | undefined;
  /** Sensitive data was moved: the columns that hold it now are sensitive, too. */
  follow(flows: StatementInfo['flows']): void;
}
