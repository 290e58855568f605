/** Servers that people use, from npm: what each says to the same script of calls is byte for byte the same direct and through the relay. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Secret } from '../../../contract/secret.ts';
import type { SecretRef } from '../../../proxy/policy/policy.ts';
import { mcp } from '../../../proxy/protocols/mcp/mcp.ts';
import { Stage } from '../../proxy/protocols/mcp/stage.ts';
import { PASSWORD, SUPERUSER, testDatabase } from '../../support/postgres.ts';
import { CHROMIUM } from '../../webview/support/panelPage.ts';
import { gitlab } from './gitlab.ts';
import { direct, relayed, type Wire } from './wire.ts';

const module = (path: string): string => fileURLToPath(new URL(`../../../node_modules/${path}`, import.meta.url));

let stage: Stage;
let folder: string;
before(async () => {
  stage = await Stage.start();
  folder = await mkdtemp(join(tmpdir(), 'countersign-third-'));
});
after(async () => {
  await stage?.stop();
  await rm(folder, { recursive: true, force: true });
});

type Step = readonly [method: string, params: unknown];
const call = (name: string, args: Readonly<Record<string, unknown>>): Step => ['tools/call', { name, arguments: args }];

interface Subject {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Given to the relayed one from where secrets are kept. */
  readonly secrets?: Readonly<Record<string, string>>;
  readonly script: readonly Step[];
  /** Takes what differs between any two runs out of an answer. */
  readonly steady?: (text: string) => string;
}

/** Starts the server twice, in a folder each, and plays the same script to both. */
async function compare(subject: Subject): Promise<string[]> {
  const { command, name, script, secrets = {}, steady = (text) => text } = subject;
  const folders = { one: join(folder, `${name}-direct`), other: join(folder, `${name}-relayed`) };
  await Promise.all(Object.values(folders).map((path) => mkdir(path, { recursive: true })));
  const at = (path: string, text: string): string => text.replaceAll('{folder}', path);
  const envIn = (path: string) => Object.entries(subject.env ?? {}).map(([variable, value]) => [variable, at(path, value)] as const);
  for (const [secret, value] of Object.entries(secrets)) stage.secrets.set(secret, new Secret(value));
  const connection = {
    name,
    protocol: 'mcp',
    via: 'local',
    sensitive: new Map(),
    upstream: {
      transport: 'stdio',
      command: command.map((word) => at(folders.other, word)),
      cwd: folders.other,
      env: new Map<string, string | SecretRef>([
        ...envIn(folders.other),
        ...Object.keys(secrets).map((secret) => [secret, { from: 'secret', name: secret } as const] as const),
      ]),
    },
  } as const;
  stage.connections.push(connection);
  const served = await mcp.serve(connection, stage.host);
  const ways: Record<'one' | 'other', Wire> = {
    one: direct(
      command.map((word) => at(folders.one, word)),
      { ...Object.fromEntries(envIn(folders.one)), ...secrets },
      folders.one,
    ),
    other: relayed(stage.url(`mcp/${name}`), stage.headers()),
  };
  const said: string[] = [];
  try {
    const initialize = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'script', version: '1' } };
    for (const [method, params] of [['initialize', initialize] as Step, ...script]) {
      const play = async (way: 'one' | 'other') => {
        const { heard, text } = await ways[way].ask(method, JSON.parse(at(folders[way], JSON.stringify(params))));
        return { text: steady(text.replaceAll(folders[way], '{folder}')), heard: heard.filter((notification) => notification === 'notifications/progress') };
      };
      const direct = await play('one');
      const one = method === 'initialize' ? { ...direct, text: promising(direct.text) } : direct;
      assert.deepEqual(await play('other'), one, `${name}: ${method} ${JSON.stringify(params)}`);
      said.push(one.text);
      if (method === 'initialize') await Promise.all([ways.one.tell('notifications/initialized'), ways.other.tell('notifications/initialized')]);
    }
  } finally {
    await Promise.all([ways.one.close(), ways.other.close()]);
    await served.stop('the test is over');
  }
  return said;
}

/** The one thing that is said otherwise: lists change with policy, whether or not the server itself would ever change them. */
function promising(introduction: string): string {
  const said = JSON.parse(introduction) as { capabilities: Record<string, object> };
  for (const name of ['tools', 'prompts']) if (said.capabilities[name]) said.capabilities[name] = { ...said.capabilities[name], listChanged: true };
  return JSON.stringify(said);
}

const LISTS: readonly Step[] = [
  ['ping', {}],
  ['tools/list', {}],
];

describe('through the relay says what it says direct', () => {
  it('server-everything, the reference server', async () => {
    const steady = (text: string): string => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'T').replace(/\d{1,2}:\d\d:\d\d [AP]M/g, 'T');
    const said = await compare({
      name: 'everything',
      command: [process.execPath, module('@modelcontextprotocol/server-everything/dist/index.js')],
      steady,
      script: [
        ...LISTS,
        ['resources/list', {}],
        ['resources/templates/list', {}],
        ['prompts/list', {}],
        ['prompts/get', { name: 'args-prompt', arguments: { city: 'Oslo', state: 'x' } }],
        ['completion/complete', { ref: { type: 'ref/prompt', name: 'completable-prompt' }, argument: { name: 'department', value: 'E' } }],
        call('echo', { message: 'hello “world” \u2028 <b>' }),
        call('get-sum', { a: 2, b: 40 }),
        call('get-structured-content', { location: 'Chicago' }),
        call('get-annotated-message', { messageType: 'error', includeImage: true }),
        call('get-resource-links', { count: 3 }),
        ['tools/call', { name: 'trigger-long-running-operation', arguments: { duration: 0.3, steps: 3 }, _meta: { progressToken: 'p' } }],
        call('echo', {}),
        call('no-such-tool', {}),
        ['no/such/method', {}],
      ],
    });
    assert.match(said.at(-5) ?? '', /links/);
  });

  it('server-filesystem', async () => {
    const said = await compare({
      name: 'filesystem',
      command: [process.execPath, module('@modelcontextprotocol/server-filesystem/dist/index.js'), '{folder}'],
      steady: (text) => text.replace(/(created|modified|accessed): [^\\]+/g, '$1: T'),
      script: [
        ...LISTS,
        call('list_allowed_directories', {}),
        call('write_file', { path: '{folder}/a.txt', content: 'one\ntwo ✓\nthree\n' }),
        call('read_text_file', { path: '{folder}/a.txt' }),
        call('read_text_file', { path: '{folder}/a.txt', head: 1 }),
        call('edit_file', { path: '{folder}/a.txt', edits: [{ oldText: 'two', newText: 'zwei' }] }),
        call('create_directory', { path: '{folder}/in' }),
        call('move_file', { source: '{folder}/a.txt', destination: '{folder}/in/b.txt' }),
        call('directory_tree', { path: '{folder}' }),
        call('search_files', { path: '{folder}', pattern: '**/b*' }),
        call('read_text_file', { path: '/etc/passwd' }),
        call('get_file_info', { path: '{folder}/in/b.txt' }),
      ],
    });
    assert.match(said[5] ?? '', /zwei|two ✓/);
    assert.match(said.at(-2) ?? '', /Access denied/);
  });

  it('server-memory', async () => {
    const said = await compare({
      name: 'memory',
      command: [process.execPath, module('@modelcontextprotocol/server-memory/dist/index.js')],
      env: { MEMORY_FILE_PATH: '{folder}/memory.jsonl' },
      script: [
        ...LISTS,
        call('create_entities', {
          entities: [
            { name: 'Kettle', entityType: 'product', observations: ['boils'] },
            { name: 'Toaster', entityType: 'product', observations: [] },
          ],
        }),
        call('create_relations', { relations: [{ from: 'Kettle', to: 'Toaster', relationType: 'stands beside' }] }),
        call('add_observations', { observations: [{ entityName: 'Toaster', contents: ['toasts'] }] }),
        call('read_graph', {}),
        call('search_nodes', { query: 'toast' }),
        call('open_nodes', { names: ['Kettle'] }),
        call('delete_entities', { entityNames: ['Kettle'] }),
        call('read_graph', {}),
        call('add_observations', { observations: [{ entityName: 'Nobody', contents: ['x'] }] }),
      ],
    });
    assert.match(said[6] ?? '', /stands beside/);
  });

  it('server-sequential-thinking', async () => {
    const said = await compare({
      name: 'thinking',
      command: [process.execPath, module('@modelcontextprotocol/server-sequential-thinking/dist/index.js')],
      script: [
        ...LISTS,
        call('sequentialthinking', { thought: 'First', nextThoughtNeeded: true, thoughtNumber: 1, totalThoughts: 2 }),
        call('sequentialthinking', { thought: 'Second', nextThoughtNeeded: false, thoughtNumber: 2, totalThoughts: 2 }),
        call('sequentialthinking', { thought: 5 }),
      ],
    });
    assert.match(said[4] ?? '', /thoughtHistoryLength/);
  });

  it('server-postgres, on a real database', async () => {
    const database = await testDatabase();
    const setup = await database.direct();
    await setup.query('CREATE TABLE kettles (id int PRIMARY KEY, colour text NOT NULL, litres numeric)');
    await setup.query("INSERT INTO kettles VALUES (1, 'red', 1.5), (2, 'blue', NULL), (3, 'grün', 0.75)");
    await setup.end();
    const url = `postgres://${SUPERUSER}:${PASSWORD}@${database.host}:${database.port}/${database.database}`;
    const said = await compare({
      name: 'postgres',
      command: [process.execPath, module('@modelcontextprotocol/server-postgres/dist/index.js'), url],
      script: [
        ...LISTS,
        ['resources/list', {}],
        ['resources/read', { uri: `postgres://${SUPERUSER}@${database.host}:${database.port}/kettles/schema` }],
        call('query', { sql: 'SELECT * FROM kettles ORDER BY id' }),
        call('query', { sql: 'SELECT count(*) FROM kettles' }),
        call('query', { sql: 'DELETE FROM kettles' }),
        call('query', { sql: 'SELEC' }),
      ],
    });
    assert.match(said[5] ?? '', /grün/);
  });

  it('mcp-gitlab, on issues of a GitLab that only the test has', async () => {
    const tracker = await gitlab();
    try {
      const said = await compare({
        name: 'gitlab',
        command: [process.execPath, module('@zereight/mcp-gitlab/build/index.js')],
        env: { GITLAB_API_URL: `${tracker.url}/api/v4`, GITLAB_READ_ONLY_MODE: 'false' },
        secrets: { GITLAB_PERSONAL_ACCESS_TOKEN: 'a-token-from-the-broker' },
        script: [
          ...LISTS,
          call('list_issues', { project_id: '5' }),
          call('get_issue', { project_id: '5', issue_iid: '1' }),
          call('update_issue', { project_id: '5', issue_iid: '1', title: 'The kettle boils again' }),
          call('get_issue', { project_id: '5', issue_iid: '1' }),
          call('get_issue', { project_id: '5', issue_iid: '999' }),
        ],
      });
      assert.match(said[5] ?? '', /boils again/);
      assert.ok([...tracker.tokens].every((token) => token.includes('a-token-from-the-broker')) && tracker.tokens.size > 0, [...tracker.tokens].join());
    } finally {
      tracker.stop();
    }
  });

  it('playwright, in a real browser', async (t) => {
    const chromium = existsSync(CHROMIUM) ? CHROMIUM : undefined;
    if (!chromium) return t.skip('there is no Chromium on this machine');
    const page = createServer((_request, response) =>
      response
        .setHeader('Content-Type', 'text/html')
        .end('<title>Kettles</title><h1>Kettles</h1><button onclick="this.textContent=\'Bought\'">Buy</button><label>Note <input></label>'),
    );
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve));
    const { port } = page.address() as AddressInfo;
    try {
      const said = await compare({
        name: 'playwright',
        command: [
          process.execPath,
          module('@playwright/mcp/cli.js'),
          '--headless',
          '--isolated',
          '--no-sandbox',
          '--executable-path',
          chromium,
          '--output-dir',
          '{folder}/out',
        ],
        steady: (text) => text.replace(/\d{4}-\d\d-\d\dT[\d-:.]+Z?/g, 'T').replace(/\b\d+ms\b/g, 'Nms'),
        script: [
          ...LISTS,
          call('browser_navigate', { url: `http://127.0.0.1:${port}/` }),
          call('browser_snapshot', {}),
          call('browser_evaluate', { function: '() => document.title + " " + document.querySelectorAll("button").length' }),
          call('browser_press_key', { key: 'Tab' }),
          call('browser_close', {}),
          call('browser_click', { target: 'nowhere', element: 'nothing' }),
        ],
      });
      assert.match(said[5] ?? '', /Kettles 1/);
    } finally {
      page.closeAllConnections();
      page.close();
    }
    return undefined;
  });
});
