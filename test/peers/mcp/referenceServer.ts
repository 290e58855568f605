/**
 * A server of both eras, made with the official SDK, that has what the official conformance suite wants to call. It runs as a
 * process of its own on `PORT`, so that the very same server is measured direct and through the relay.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } from '@modelcontextprotocol/node';
import {
  completable,
  createMcpHandler,
  type EventStore,
  fromJsonSchema,
  hostHeaderValidationResponse,
  type InputRequests,
  type InputRequiredResult,
  inputRequired,
  isLegacyRequest,
  type JSONRPCMessage,
  localhostAllowedHostnames,
  McpServer,
  MissingRequiredClientCapabilityError,
  ResourceTemplate,
  type ServerContext,
  type ServerNotifier,
} from '@modelcontextprotocol/server';
import { z } from 'zod';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=';
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const say = (text: string) => ({ content: [{ type: 'text' as const, text }] });
const none = z.object({});

type Responses = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
const responsesIn = (ctx: ServerContext): Responses => (ctx.mcpReq.inputResponses ?? {}) as Responses;
const askFor = (message: string, field: string, type: 'string' | 'boolean' = 'string') =>
  inputRequired.elicit({ message, requestedSchema: { type: 'object', properties: { [field]: { type } as { type: 'string' } }, required: [field] } });
/** What a person accepted under a name; undefined where the answer is not that. */
function accepted(ctx: ServerContext, name: string, field: string): unknown {
  const response = responsesIn(ctx)[name];
  const content = response?.action === 'accept' ? (response.content as Record<string, unknown> | undefined) : undefined;
  return content?.[field];
}

const KEY = 'only for this test';
const signed = (state: string): string => `${state}.${createHmac('sha256', KEY).update(state).digest('hex')}`;
/** The state inside a signed one. The SDK refuses what this does not take. */
function verified(given: string): string {
  const state = given.replace(/\.[0-9a-f]{64}$/, '');
  if (signed(state) !== given) throw new Error('The request state was tampered with.');
  return state;
}
const stateIn = (ctx: ServerContext): string | undefined => (ctx.mcpReq.requestState as () => string | undefined)();
function need(requests: InputRequests, state?: string): InputRequiredResult {
  return inputRequired({ inputRequests: requests, ...(state !== undefined && { requestState: signed(state) }) });
}

const elicitations: Record<string, { message: string; schema: Record<string, unknown> }> = {
  test_elicitation_sep1034_defaults: {
    message: 'Check these values',
    schema: {
      type: 'object',
      properties: {
        name: { type: 'string', default: 'John Doe' },
        age: { type: 'integer', default: 30 },
        score: { type: 'number', default: 95.5 },
        status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
        verified: { type: 'boolean', default: true },
      },
    },
  },
  test_elicitation_sep1330_enums: {
    message: 'Choose',
    schema: {
      type: 'object',
      properties: {
        untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
        titledSingle: { type: 'string', oneOf: [1, 2, 3].map((n) => ({ const: `value${n}`, title: `Option ${n}` })) },
        legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['One', 'Two', 'Three'] },
        untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
        titledMulti: { type: 'array', items: { anyOf: [1, 2, 3].map((n) => ({ const: `value${n}`, title: `Choice ${n}` })) } },
      },
    },
  },
};

const SCHEMA_2020 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: { address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } } },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  // biome-ignore lint/suspicious/noThenProperty: a word of JSON Schema
  // oxlint-disable-next-line unicorn/no-thenable -- the same
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
} as const;

function reference(notify: ServerNotifier | undefined): McpServer {
  const server = new McpServer(
    { name: 'reference', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        logging: {},
        completions: {},
      },
      instructions: 'Only for tests.',
      requestState: { verify: verified },
    },
  );
  plainTools(server, notify);
  askingTools(server);
  inputTools(server);
  resources(server);
  prompts(server);
  return server;
}

function plainTools(server: McpServer, notify: ServerNotifier | undefined): void {
  const tool = (name: string, run: (ctx: ServerContext) => unknown): void =>
    void server.registerTool(name, { description: `Does ${name}`, inputSchema: none }, (_args, ctx) => run(ctx) as ReturnType<typeof say>);
  tool('test_simple_text', () => say('This is a simple text response for testing.'));
  tool('test_image_content', () => ({ content: [{ type: 'image', data: PNG, mimeType: 'image/png' }] }));
  tool('test_audio_content', () => ({ content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }] }));
  const embedded = { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'This is an embedded resource content.' };
  tool('test_embedded_resource', () => ({ content: [{ type: 'resource', resource: embedded }] }));
  tool('test_multiple_content_types', () => ({
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      { type: 'image', data: PNG, mimeType: 'image/png' },
      { type: 'resource', resource: { uri: 'test://mixed-content-resource', mimeType: 'application/json', text: '{"test":"data","value":123}' } },
    ],
  }));
  tool('test_tool_with_logging', async (ctx) => {
    for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await ctx.mcpReq.log('info', data);
      await pause(50);
    }
    return say('done');
  });
  tool('test_logging_tool', async (ctx) => {
    await ctx.mcpReq.log('info', 'logged');
    return say('done');
  });
  tool('test_tool_with_progress', async (ctx) => {
    const { progressToken } = (ctx.mcpReq._meta ?? {}) as { progressToken?: string | number };
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined) await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
      await pause(50);
    }
    return say('done');
  });
  tool('test_error_handling', () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  tool('test_reconnection', async (ctx) => {
    ctx.http?.closeSSE?.();
    await pause(100);
    return say('Reconnection test completed successfully.');
  });
  tool('test_missing_capability', () => {
    throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { sampling: {} } });
  });
  tool('test_trigger_tool_change', () => {
    if (notify) notify.toolsChanged();
    else server.sendToolListChanged();
    return say('changed');
  });
  tool('test_trigger_prompt_change', () => {
    if (notify) notify.promptsChanged();
    else server.sendPromptListChanged();
    return say('changed');
  });
  server.registerTool('json_schema_2020_12_tool', { description: 'Keeps its schema', inputSchema: fromJsonSchema(SCHEMA_2020 as never) }, () => say('done'));
  const headers = fromJsonSchema({
    type: 'object',
    properties: { region: { type: 'string', 'x-mcp-header': 'Region' }, priority: { type: 'integer', 'x-mcp-header': 'Priority' }, query: { type: 'string' } },
    required: ['region'],
  } as never);
  server.registerTool('test_x_mcp_header', { description: 'Takes arguments in headers', inputSchema: headers }, (args) => say(JSON.stringify(args)));
}

/** Tools that ask in the way of the older era. */
function askingTools(server: McpServer): void {
  server.registerTool('test_sampling', { description: 'Samples', inputSchema: z.object({ prompt: z.string() }) }, async ({ prompt }, ctx) => {
    const { content } = await ctx.mcpReq.requestSampling({ messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 100 });
    return say(`LLM response: ${'text' in content ? content.text : ''}`);
  });
  server.registerTool('test_elicitation', { description: 'Asks', inputSchema: z.object({ message: z.string() }) }, async ({ message }, ctx) => {
    const schema = {
      type: 'object' as const,
      properties: { username: { type: 'string' as const }, email: { type: 'string' as const } },
      required: ['username', 'email'],
    };
    const result = await ctx.mcpReq.elicitInput({ message, requestedSchema: schema });
    return say(`User response: ${JSON.stringify(result)}`);
  });
  for (const [name, { message, schema }] of Object.entries(elicitations)) {
    server.registerTool(name, { description: 'Asks', inputSchema: none }, async (_args, ctx) => {
      const result = await ctx.mcpReq.elicitInput({ message, requestedSchema: schema as never });
      return say(`Elicitation completed: action=${result.action}, content=${JSON.stringify(result.content ?? {})}`);
    });
  }
}

/** Tools that ask in the way of the stateless era. */
function inputTools(server: McpServer): void {
  const tool = (name: string, run: (ctx: ServerContext) => unknown): void =>
    void server.registerTool(name, { description: `Does ${name}`, inputSchema: none }, (_args, ctx) => run(ctx) as ReturnType<typeof say>);
  const sample = (text: string, maxTokens: number) => inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens });
  const samplingIn = (ctx: ServerContext, name: string): string | undefined => {
    const content = responsesIn(ctx)[name]?.content as { text?: unknown } | undefined;
    return typeof content?.text === 'string' ? content.text : undefined;
  };
  const rootsIn = (ctx: ServerContext, name: string): string | undefined => {
    const roots = responsesIn(ctx)[name]?.roots;
    return Array.isArray(roots) ? roots.map((root: { uri: string }) => root.uri).join(', ') : undefined;
  };
  const greet = (ctx: ServerContext): unknown => {
    const name = accepted(ctx, 'user_name', 'name');
    return typeof name === 'string' ? say(`Hello, ${name}!`) : need({ user_name: askFor('What is your name?', 'name') });
  };
  tool('test_input_required_result_elicitation', greet);
  tool('test_streaming_elicitation', greet);
  tool('test_input_required_result_sampling', (ctx) => {
    const text = samplingIn(ctx, 'capital_question');
    return text === undefined ? need({ capital_question: sample('What is the capital of France?', 100) }) : say(text);
  });
  tool('test_input_required_result_list_roots', (ctx) => {
    const roots = rootsIn(ctx, 'client_roots');
    return roots === undefined ? need({ client_roots: inputRequired.listRoots() }) : say(`Roots: ${roots}`);
  });
  for (const name of ['test_input_required_result_request_state', 'test_input_required_result_tampered_state']) {
    tool(name, (ctx) => {
      const state = stateIn(ctx);
      return state === 'asked' && accepted(ctx, 'confirm', 'ok') !== undefined
        ? say('state-ok')
        : need({ confirm: askFor('Please confirm', 'ok', 'boolean') }, 'asked');
    });
  }
  tool('test_input_required_result_multiple_inputs', (ctx) => {
    const name = accepted(ctx, 'user_name', 'name');
    const greeting = samplingIn(ctx, 'greeting');
    const roots = rootsIn(ctx, 'client_roots');
    if (stateIn(ctx) === 'three' && typeof name === 'string' && greeting !== undefined && roots !== undefined) return say(`${greeting}, ${name}: ${roots}`);
    return need(
      { user_name: askFor('What is your name?', 'name'), greeting: sample('Generate a greeting', 50), client_roots: inputRequired.listRoots() },
      'three',
    );
  });
  tool('test_input_required_result_multi_round', (ctx) => {
    const [round, name] = (stateIn(ctx) ?? '').split(':');
    const first = accepted(ctx, 'step1', 'name');
    const second = accepted(ctx, 'step2', 'color');
    if (round === 'two' && typeof second === 'string') return say(`${name} likes ${second}`);
    if (round === 'one' && typeof first === 'string') return need({ step2: askFor('Step 2: What is your favorite color?', 'color') }, `two:${first}`);
    return need({ step1: askFor('Step 1: What is your name?', 'name') }, 'one');
  });
  tool('test_input_required_result_capabilities', (ctx) => {
    const envelope = ctx.mcpReq.envelope as Record<string, unknown> | undefined;
    const can = (envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? {}) as Record<string, unknown>;
    const requests: InputRequests = {
      ...(can.elicitation !== undefined && { name: askFor('What is your name?', 'name') }),
      ...(can.sampling !== undefined && { text: sample('Say something', 10) }),
      ...(can.roots !== undefined && { roots: inputRequired.listRoots() }),
    };
    return Object.keys(requests).length > 0 && Object.keys(responsesIn(ctx)).length === 0 ? need(requests) : say('done');
  });
}

function resources(server: McpServer): void {
  const cacheHint = { ttlMs: 1000, cacheScope: 'public' as const };
  const text = (uri: string, value: string) => ({ contents: [{ uri, mimeType: 'text/plain', text: value }] });
  server.registerResource('static-text', 'test://static-text', { mimeType: 'text/plain', cacheHint }, () =>
    text('test://static-text', 'This is the content of the static text resource.'),
  );
  server.registerResource('static-binary', 'test://static-binary', { mimeType: 'image/png' }, () => ({
    contents: [{ uri: 'test://static-binary', mimeType: 'image/png', blob: PNG }],
  }));
  server.registerResource('watched', 'test://watched-resource', { mimeType: 'text/plain' }, () => text('test://watched-resource', 'Watched resource content'));
  server.registerResource('example', 'test://example-resource', { mimeType: 'text/plain' }, () => text('test://example-resource', 'Example'));
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { mimeType: 'application/json' },
    (uri, { id }) => ({
      contents: [{ uri: uri.href, mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }) }],
    }),
  );
  server.server.setRequestHandler('resources/subscribe', () => ({}));
  server.server.setRequestHandler('resources/unsubscribe', () => ({}));
}

function prompts(server: McpServer): void {
  const message = (content: Record<string, unknown>) => ({ role: 'user' as const, content: content as { type: 'text'; text: string } });
  const one = (text: string) => ({ messages: [message({ type: 'text', text })] });
  server.registerPrompt('test_simple_prompt', { description: 'Simple' }, () => one('This is a simple prompt for testing.'));
  const arg = z.string().describe('An argument');
  const args = z.object({ arg1: completable(arg, (value) => ['paris', 'park', 'party'].filter((v) => v.startsWith(value))), arg2: arg });
  server.registerPrompt('test_prompt_with_arguments', { description: 'With arguments', argsSchema: args }, ({ arg1, arg2 }) =>
    one(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`),
  );
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'With a resource', argsSchema: z.object({ resourceUri: z.string() }) },
    ({ resourceUri }) => ({
      messages: [
        message({ type: 'resource', resource: { uri: resourceUri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' } }),
        message({ type: 'text', text: 'Please process the embedded resource above.' }),
      ],
    }),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'With an image' }, () => ({
    messages: [message({ type: 'image', data: PNG, mimeType: 'image/png' }), message({ type: 'text', text: 'Please analyze the image above.' })],
  }));
  server.registerPrompt('test_input_required_result_prompt', { description: 'Asks first' }, (ctx) => {
    const context = accepted(ctx, 'user_context', 'context');
    return typeof context === 'string' ? one(`With ${context}`) : (need({ user_context: askFor('What context should the prompt use?', 'context') }) as never);
  });
}

/** Events of a session, so that a broken stream can be taken up. */
class Events implements EventStore {
  readonly #kept: { readonly id: string; readonly stream: string; readonly message: JSONRPCMessage }[] = [];

  async storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
    const id = `${stream}_${this.#kept.length}`;
    this.#kept.push({ id, stream, message });
    return id;
  }

  async replayEventsAfter(last: string, { send }: { send: (id: string, message: JSONRPCMessage) => Promise<void> }): Promise<string> {
    const from = this.#kept.findIndex(({ id }) => id === last);
    const stream = this.#kept[from]?.stream ?? '';
    for (const event of this.#kept.slice(from + 1)) if (event.stream === stream && Object.keys(event.message).length > 0) await send(event.id, event.message);
    return stream;
  }
}

const modern = createMcpHandler(() => reference(modern.notify), { legacy: 'reject' });
const modernNode = toNodeHandler(modern);
const sessions = new Map<string, NodeStreamableHTTPServerTransport>();

async function legacy(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<void> {
  const id = request.headers['mcp-session-id'];
  const known = typeof id === 'string' ? sessions.get(id) : undefined;
  if (known) return known.handleRequest(request, response, body);
  if (typeof id === 'string') return void response.writeHead(404).end();
  const transport: NodeStreamableHTTPServerTransport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new Events(),
    retryInterval: 100,
    onsessioninitialized: (session) => void sessions.set(session, transport),
    onsessionclosed: (session) => void sessions.delete(session),
  });
  await reference(undefined).connect(transport);
  return transport.handleRequest(request, response, body);
}

/** `legacy` or `stateless` alone, else both. */
const [, , only] = process.argv;
const MODERN_ONLY = only === 'stateless';
const LEGACY_ONLY = only === 'sessions';

// It hangs up on nobody who is silent for a while: on a busy machine that meets their next request.
createServer({ keepAliveTimeout: 0 }, (request, response) => {
  void (async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    let body: unknown;
    try {
      body = text === '' ? undefined : JSON.parse(text);
    } catch {
      return response.writeHead(400).end();
    }
    const web = await toWebRequest(request as never, body ?? '');
    const wrongHost = hostHeaderValidationResponse(web, localhostAllowedHostnames());
    if (wrongHost) return response.writeHead(wrongHost.status).end();
    const sessionful = LEGACY_ONLY || (!MODERN_ONLY && (await isLegacyRequest(web, body ?? '')));
    return sessionful ? legacy(request, response, body) : modernNode(request as never, response as never, body);
  })().catch((cause: unknown) => {
    process.stderr.write(`${String(cause)}\n`);
    response.destroy();
  });
}).listen(Number(process.env.PORT), '127.0.0.1');
