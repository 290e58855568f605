/** Every protocol that the proxy speaks: one line each. */
import { mcp } from './mcp/mcp.ts';
import { postgres } from './postgres/serve.ts';
import type { Protocol } from './protocol.ts';

export const protocols: readonly Protocol[] = [postgres, mcp];
