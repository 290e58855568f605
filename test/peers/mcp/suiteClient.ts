/**
 * The client that the official conformance suite starts in its client mode, made with the official SDK: `direct` at the suite's
 * server, or `through` a relay of ours that has that server upstream. It does what the scenario says and nothing else.
 */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { Served } from '../../../proxy/protocols/protocol.ts';
import type { Stage } from '../../proxy/protocols/mcp/stage.ts';

const [, , mode, given = ''] = process.argv;
const { MCP_CONFORMANCE_SCENARIO: scenario = '', MCP_CONFORMANCE_PROTOCOL_VERSION: version = '', MCP_CONFORMANCE_CONTEXT: context = '{}' } = process.env;
const modern = version === '2026-07-28';
/** How often a person would sign in before they had enough. */
const MAX_SIGN_INS = 3;

let stage: Stage | undefined;
let served: Served | undefined;

async function connected(): Promise<Client> {
  const made = new Client(
    { name: 'suite-client', version: '1' },
    {
      capabilities: { elicitation: { form: { applyDefaults: true } } },
      ...(modern && { versionNegotiation: { mode: { pin: '2026-07-28' } } }),
    },
  );
  const url = stage ? stage.url('mcp/suite') : new URL(given);
  await made.connect(new StreamableHTTPClientTransport(url, stage ? { requestInit: { headers: stage.headers() } } : {}));
  return made;
}

/** Does something, and signs in where that is what it takes. */
async function signingIn<T>(work: () => Promise<T>): Promise<T> {
  for (let n = 0; ; n++) {
    const failed = await work().then(
      (value) => ({ value }),
      (cause: unknown) => ({ cause }),
    );
    const oauth = served?.oauth;
    const wanted = oauth?.state === 'needed' && n < MAX_SIGN_INS;
    if (!wanted) {
      if ('value' in failed) return failed.value;
      throw failed.cause;
    }
    await fetch(await oauth.address(await oauth.begin()));
  }
}

// Loaded where it is needed: a client of its own needs none of it.
if (mode === 'through') ({ stage, served } = await (await import('./suiteRelay.ts')).relay(given, context));
const client = await signingIn(connected);
let answered = 0;
client.setRequestHandler('elicitation/create', async () => {
  // Another call in the middle of one: neither may get what is the other's.
  if (scenario === 'sep-2322-client-request-state' && answered++ === 0) await client.callTool({ name: 'test_mrtr_unrelated', arguments: {} });
  return { action: 'accept', content: scenario === 'sep-2322-client-request-state' ? { confirmed: true } : {} };
});

try {
  const call = (name: string, args: Record<string, unknown> = {}) => client.callTool({ name, arguments: args });
  const tools = async () => (await client.listTools()).tools;
  switch (scenario) {
    case 'initialize':
    case 'json-schema-ref-no-deref':
    case 'request-metadata':
      await tools();
      break;
    case 'tools_call':
      await tools();
      await call('add_numbers', { a: 5, b: 3 });
      break;
    case 'elicitation-sep1034-client-defaults':
      await call('test_client_elicitation_defaults');
      break;
    case 'sse-retry':
      await call('test_reconnection');
      break;
    case 'sep-2322-client-request-state':
      await tools();
      for (const name of ['test_mrtr_echo_state', 'test_mrtr_no_state', 'test_mrtr_no_result_type']) await call(name);
      break;
    case 'http-standard-headers': {
      const [tool] = await tools();
      await call(tool?.name ?? '');
      const [resource] = (await client.listResources()).resources;
      await client.readResource({ uri: resource?.uri ?? '' });
      const [prompt] = (await client.listPrompts()).prompts;
      await client.getPrompt({ name: prompt?.name ?? '' });
      break;
    }
    case 'http-custom-headers':
      await tools();
      for (const { name, arguments: args } of (JSON.parse(context) as { toolCalls: { name: string; arguments: Record<string, unknown> }[] }).toolCalls)
        await call(name, args);
      break;
    case 'http-invalid-tool-headers':
      for (const { name } of await tools()) await call(name, { region: 'us' });
      break;
    case 'json-schema-2020-12-preservation': {
      const focal = (await tools()).find(({ name }) => name !== 'json_schema_echo');
      await call('json_schema_echo', { schema: focal?.inputSchema });
      break;
    }
    case scenario.startsWith('auth/') ? scenario : '':
      for (const { name } of await signingIn(tools)) await signingIn(() => call(name));
      break;
    default:
      throw new Error(`nothing is known of the scenario ${scenario}`);
  }
} finally {
  await client.close();
  await served?.stop('the scenario is over');
  await stage?.stop();
}
