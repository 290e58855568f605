/** Every protocol that the proxy speaks: one line each. */
import type { Protocol } from './protocol.ts';

export const protocols: readonly Protocol[] = [];
