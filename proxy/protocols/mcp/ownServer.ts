/**
 * Our own MCP server, at `/mcp`: how an agent reaches databases without a driver. A tool call becomes one operation on the
 * database's own protocol, and is decided, masked and recorded there as what it does; nothing is decided here.
 */
import { CLIENT_INFO_META_KEY, createMcpHandler, McpServer, type ServerContext } from '@modelcontextprotocol/server';
import { Router } from 'express';
import { DatabaseError } from 'pg';
import { z } from 'zod';
import { Problem } from '../../../contract/problem.ts';
import type { ClientIdentity, ProtocolHost, Served } from '../protocol.ts';
import { actorOf, clientInfoOf } from './agent.ts';
import { bearerOf, KEEP_ALIVE_MS, McpFront } from './front.ts';
import { ANSWER_WITHIN_MS, isPatient } from './patience.ts';
import { type Param, type ResultTable, renderTable, runStatement } from './sqlTools.ts';
import { type Attempt, Calls } from './waiting.ts';

/** Shown to clients; raised when tools change. */
const VERSION = '1.0.0';
/** Longest statement, in characters; a longer one is refused by the database's protocol as well. */
const MAX_SQL = 262_144;
const MAX_PARAMS = 1000;
/** How often a client that waits is told so, in milliseconds. */
const PROGRESS_MS = 5_000;

const INSTRUCTIONS =
  'Databases behind Countersign. Use list_connections to see them, query to read and execute for anything else. Sensitive values come back masked: ‹redacted› is gone, but a token such as ‹email·1·rtkzq› stands for one value, and may be sent back as it is, as a whole literal compared with the column it came from by = or IN, or written into a masked column. Never write a mask back. A person may be asked before a statement runs: wait for the answer. When something is denied, the error says by whom and why; do not retry it unchanged.';

const Statement = z.object({
  connection: z.string().max(200).describe('A name from list_connections'),
  sql: z.string().min(1).max(MAX_SQL).describe('One SQL statement in the dialect of the connection; $1, $2, … for parameters'),
  params: z
    .array(z.union([z.string().max(65_536), z.number(), z.boolean(), z.null()]))
    .max(MAX_PARAMS)
    .optional()
    .describe('Values for $1, $2, …'),
  reason: z.string().max(2000).optional().describe('In one sentence, what this is for. A person who is asked reads it'),
});

const Table = z.object({
  columns: z.array(z.string()),
  rows: z.array(z.array(z.string().nullable())).describe('Values as text, sensitive ones masked'),
  rowCount: z.number().int().describe('Rows found or changed; rows may hold fewer'),
  truncated: z.boolean().describe('Whether rows were left out'),
});

const Connections = z.object({
  connections: z.array(
    z.object({
      name: z.string(),
      protocol: z.string(),
      state: z.string(),
      problem: z.string().optional(),
      masked: z.array(z.string()).describe('Columns whose values come back masked'),
    }),
  ),
});

export interface OwnServerOptions {
  /** How often a client that waits is told so, in milliseconds. Shorter ones are for tests. */
  readonly progressMs?: number;
  /** How soon a client that is not known to wait is answered, in milliseconds. */
  readonly answerMs?: number;
}

/** Mounts the server. `stop` ends its sessions; what they wait for is cancelled. */
export function mountOwnServer(
  host: ProtocolHost,
  { progressMs = PROGRESS_MS, answerMs = ANSWER_WITHIN_MS }: OwnServerOptions = {},
): { stop(): Promise<void> } {
  const calls = new Calls<Answer>({ answerMs, now: () => host.engine.clock.now(), pending: (text) => ({ isError: true, content: [{ type: 'text', text }] }) });
  const modern = createMcpHandler(({ authInfo }) => ownServer(host, bearerOf(authInfo).identity, progressMs, calls), {
    legacy: 'reject',
    responseMode: 'sse',
    keepAliveMs: KEEP_ALIVE_MS,
    onerror: (cause) => host.engine.log.info('mcp.own.refused', { cause }),
  });
  const front = new McpFront({
    log: host.engine.log,
    modern: (request, options) => modern.fetch(request, options),
    legacy: async (identity, transport) => {
      const server = ownServer(host, identity, progressMs, calls);
      await server.connect(transport);
      return { close: () => server.close() };
    },
  });
  const router = Router();
  router.all('/', front.handle);
  const mounted = host.mount('mcp', router);
  return {
    stop: async () => {
      mounted.dispose();
      calls.abortAll();
      await Promise.all([modern.close(), front.close()]);
    },
  };
}

/** What a tool gives back: rows, or a sentence. */
type Answer = ReturnType<typeof answer> | ReturnType<typeof failure>;

function ownServer(host: ProtocolHost, identity: ClientIdentity, progressMs: number, calls: Calls<Answer>): McpServer {
  const server = new McpServer({ name: 'countersign', title: 'Countersign', version: VERSION }, { instructions: INSTRUCTIONS });

  server.registerTool(
    'list_connections',
    {
      title: 'List connections',
      description: 'The databases that can be reached, whether each is ready, and which of its columns come back masked.',
      annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: false },
      outputSchema: Connections,
    },
    () => {
      const connections = host
        .connections()
        .filter((c) => c.protocol === 'postgres')
        .map((config) => {
          const state = host.served(config.name)?.state ?? { state: 'starting' as const };
          return {
            name: config.name,
            protocol: config.protocol,
            state: state.state,
            ...('problem' in state && { problem: state.problem }),
            masked: [...config.sensitive.keys()],
          };
        });
      const lines = connections.map(
        (c) => `${c.name} (${c.protocol}): ${c.problem ?? c.state}${c.masked.length > 0 ? `; masked: ${c.masked.join(', ')}` : ''}`,
      );
      return {
        content: [{ type: 'text', text: lines.join('\n') || 'There are no connections. They are written in countersign.yaml.' }],
        structuredContent: { connections },
      };
    },
  );

  const run = (readOnly: boolean) => async (args: z.infer<typeof Statement>, ctx: ServerContext) => {
    const envelope: Readonly<Record<string, unknown>> = ctx.mcpReq.envelope ?? {};
    const info = clientInfoOf(envelope[CLIENT_INFO_META_KEY]) ?? server.server.getClientVersion();
    const caller: ClientIdentity = {
      ...identity,
      actor: actorOf(identity, info),
      surface: 'mcp',
      ...(readOnly && { readOnly }),
      ...(args.reason !== undefined && { reason: args.reason }),
    };
    const progress = reportProgress(ctx, progressMs);
    try {
      const signal = AbortSignal.any([ctx.mcpReq.signal, bearerOf(ctx.http?.authInfo).closed]);
      // The same call, whatever its reason is put as this time: by the same agent, in the same run of it.
      const key = JSON.stringify([identity.conversation.id, caller.actor.agent, readOnly, args.connection, args.sql, args.params ?? []]);
      const attempt: Attempt = { caller: { signal, notify: () => {} }, method: 'tools/call', params: undefined };
      return await calls.run(key, attempt, isPatient(caller.actor.agent), async (held) => {
        try {
          return answer(await onConnection(host, { ...caller, held }, args.connection, args.sql, args.params ?? [], held.caller.signal));
        } catch (cause) {
          return failure(host, cause);
        }
      });
    } finally {
      progress.stop();
    }
  };

  server.registerTool(
    'query',
    {
      title: 'Read from a database',
      description: 'Runs one statement that only reads, and returns its rows. Anything that would change data is refused: use execute for that.',
      annotations: { readOnlyHint: true, openWorldHint: false },
      inputSchema: Statement,
      outputSchema: Table,
    },
    run(true),
  );
  server.registerTool(
    'execute',
    {
      title: 'Run a statement on a database',
      description: 'Runs one statement that may change data. A person may be asked first; the call returns when they have answered.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: false },
      inputSchema: Statement,
      outputSchema: Table,
    },
    run(false),
  );
  return server;
}

async function onConnection(
  host: ProtocolHost,
  caller: ClientIdentity,
  name: string,
  sql: string,
  params: readonly Param[],
  signal: AbortSignal,
): Promise<readonly ResultTable[]> {
  const served = host.served(name);
  const stream = openStream(host, served, name, caller);
  const { connection } = stream;
  return runStatement({ stream: stream.open(), user: connection.upstream.user ?? 'countersign', database: connection.upstream.database, sql, params }, signal);
}

function openStream(host: ProtocolHost, served: Served | undefined, name: string, caller: ClientIdentity) {
  const names = host.connections().flatMap((c) => (c.protocol === 'postgres' ? [c.name] : []));
  if (!served || served.connection.protocol !== 'postgres' || !served.connect) {
    throw new Problem('no-connection', `There is no database connection called "${name.slice(0, 100)}". There are: ${names.join(', ') || 'none'}.`);
  }
  if (served.state.state === 'needs-secret' || served.state.state === 'failed') throw new Problem('not-ready', served.state.problem);
  const open = served.connect.bind(served);
  return { connection: served.connection, open: () => open(caller) };
}

function answer(tables: readonly ResultTable[]) {
  const last = tables.at(-1);
  const structured: z.infer<typeof Table> = last
    ? {
        columns: [...last.columns],
        rows: last.rows.map((r) => [...r]),
        rowCount: last.rowCount,
        truncated: last.more || (last.columns.length > 0 && last.rows.length < last.rowCount),
      }
    : { columns: [], rows: [], rowCount: 0, truncated: false };
  const text = tables.map(renderTable).join('\n\n') || 'Nothing to run.';
  return { content: [{ type: 'text' as const, text }], structuredContent: structured };
}

/** An expected refusal or error is a result that the agent can read; anything else is ours, and says nothing of the inside. */
function failure(host: ProtocolHost, cause: unknown) {
  let text = 'The proxy failed. Its log says more.';
  if (cause instanceof DatabaseError) text = [cause.message, cause.detail, cause.hint].filter(Boolean).join('\n');
  else if (cause instanceof Problem) text = cause.message;
  else host.engine.log.error('mcp.own.failed', { cause });
  return { isError: true, content: [{ type: 'text' as const, text }] };
}

/** Tells a client that wants to know that the call goes on, so that it does not give up on a person who thinks. */
function reportProgress(ctx: ServerContext, everyMs: number): { stop(): void } {
  const token = ctx.mcpReq._meta?.progressToken;
  if (token === undefined) return { stop: () => {} };
  let progress = 0;
  const timer = setInterval(() => {
    progress++;
    const params = { progressToken: token, progress, message: 'Still waiting; a person may have been asked in the editor.' };
    ctx.mcpReq.notify({ method: 'notifications/progress', params }).catch(() => clearInterval(timer));
  }, everyMs);
  return { stop: () => clearInterval(timer) };
}
