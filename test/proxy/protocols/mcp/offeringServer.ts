/** A server that offers what a file says, read anew for every request: so that a test can change its mind for it. */
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { McpConnection } from '../../../../proxy/policy/policy.ts';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import { Stage } from './stage.ts';

const SERVER = `
const { readFileSync, appendFileSync } = require('node:fs');
const path = process.argv[2];
const offer = () => JSON.parse(readFileSync(path, 'utf8'));
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n');
let asked = 0;
const waiting = new Map();
require('node:fs').watchFile(path, { interval: 20 }, () => offer().announce && send({ method: 'notifications/tools/list_changed' }));
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  appendFileSync(path + '.seen', line + '\\n');
  const { id, method, params, result, error } = JSON.parse(line);
  if (method === undefined) return waiting.get(id)?.(result ?? { refused: error });
  const o = offer();
  const page = (items, key) => {
    const at = Number(params?.cursor ?? 0);
    const size = o.pageSize ?? 1000;
    return send({ id, result: { [key]: (items ?? []).slice(at, at + size), ...(at + size < (items ?? []).length && { nextCursor: String(at + size) }) } });
  };
  for (const told of o.tells?.[method] ?? []) send(told);
  if (id !== undefined && o.replies?.[method]) return send({ id, result: o.replies[method] });
  switch (method) {
    case 'initialize':
      return send({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {}, prompts: {}, resources: {} }, serverInfo: { name: 'offering', version: '1' }, ...(o.instructions && { instructions: o.instructions }) } });
    case 'tools/list': return page(o.tools, 'tools');
    case 'prompts/list': return page(o.prompts, 'prompts');
    case 'resources/list': return page(o.resources, 'resources');
    case 'resources/templates/list': return page(o.templates, 'resourceTemplates');
    case 'tasks/result': case 'tasks/get': return send({ id, result: { content: [{ type: 'text', text: 'what came of ' + params.taskId }] } });
    case 'prompts/get': case 'resources/read': return send({ id, result: { messages: [], contents: [] } });
    case 'tools/call': {
      if (params.task) return send({ id, result: { task: { taskId: 'task-of-' + params.name, status: 'working', createdAt: '', ttl: 1 } } });
      const ask = o.asks?.[params.name];
      if (!ask) return send({ id, result: o.results?.[params.name] ?? { content: [{ type: 'text', text: JSON.stringify(params.arguments ?? {}) }] } });
      const own = 'ask-' + ++asked;
      waiting.set(own, (answer) => send({ id, result: { content: [{ type: 'text', text: JSON.stringify(answer) }] } }));
      return send({ id: own, ...ask });
    }
    default: return id === undefined ? undefined : send({ id, error: { code: -32601, message: 'no' } });
  }
}).on('close', () => process.exit());
`;

export interface Offered {
  readonly tools?: readonly object[];
  readonly prompts?: readonly object[];
  readonly resources?: readonly object[];
  readonly templates?: readonly object[];
  readonly instructions?: string;
  readonly pageSize?: number;
  /** Whether it says so when it changes. */
  readonly announce?: boolean;
  /** Method → its whole result, and what is said before it. */
  readonly replies?: Readonly<Record<string, object>>;
  readonly tells?: Readonly<Record<string, readonly object[]>>;
  /** Tool → its whole result. */
  readonly results?: Readonly<Record<string, object>>;
  /** Tool → a request that it makes of the client before it answers with the client's reply. */
  readonly asks?: Readonly<Record<string, { readonly method: string; readonly params: object }>>;
}

export const tool = (name: string, more: object = {}): object => ({ name, description: `Does ${name}.`, inputSchema: { type: 'object' }, ...more });

export class OfferingServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'countersign-offer-'));
  readonly #path = join(this.#folder, 'offer.json');
  #offered: Offered = {};

  constructor(offered: Offered) {
    writeFileSync(join(this.#folder, 'server.cjs'), SERVER);
    this.offer(offered);
  }

  /** What it offers from now on, besides what it did. */
  offer(offered: Offered): void {
    this.#offered = { ...this.#offered, ...offered };
    // At once: it may be read at any moment.
    writeFileSync(`${this.#path}.new`, JSON.stringify(this.#offered));
    renameSync(`${this.#path}.new`, this.#path);
  }

  connection(name: string, more: Partial<McpConnection> = {}): McpConnection {
    const command = [process.execPath, join(this.#folder, 'server.cjs'), this.#path];
    return { name, protocol: 'mcp', via: 'local', sensitive: new Map(), upstream: { transport: 'stdio', command, env: new Map() }, ...more };
  }

  /** Every line that it was sent. */
  seen(): string {
    return readFileSync(`${this.#path}.seen`, 'utf8');
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A stage on which a server is served as the connection `a`. `stop` ends all of it. */
export async function stageFor(server: OfferingServer): Promise<{ readonly stage: Stage; readonly stop: () => Promise<void> }> {
  const stage = await Stage.start();
  const connection = server.connection('a');
  stage.connections.push(connection);
  const served = await mcp.serve(connection, stage.host);
  stage.served.set('a', served);
  return {
    stage,
    stop: async () => {
      await served.stop('the test is over');
      await stage.stop();
      server.remove();
    },
  };
}
