/** One line for each protocol. A protocol that is registered without one fails the conformance tests. */
import type { Harness } from './harness.ts';
import { mcpHarness } from './mcpHarness.ts';
import { postgresHarness } from './postgresHarness.ts';

export const harnesses: readonly Harness[] = [postgresHarness, mcpHarness];
