import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { jsonEntries, jsonEntryText, protectJson, restoreJson } from '../../../extension/mcpServers/jsonFile.ts';

const LAUNCHER = '/state/bin/countersign-mcp';
const look = { sections: [['servers'], ['mcpServers'], ['projects', '*', 'mcpServers']], dialect: 'editor', launcher: LAUNCHER } as const;
const launch = { command: LAUNCHER, connection: 'github' };
const entry = (text: string, name: string) => jsonEntries(text, look).find((found) => found.name === name);

describe('servers in a JSON file', () => {
  it('are read with comments, trailing commas and what the agent would put in', () => {
    const text = `{
  // ours
  "inputs": [{ "id": "key" }],
  "servers": {
    "github": { "type": "stdio", "command": "npx", "args": ["-y", "gh"], "env": { "TOKEN": "Bearer \${env:GH}", "K": "\${input:key}" }, },
    "crm": { "url": "https://crm.example/mcp", "headers": { "X": "1" } }, /* last */
  },
}`;
    const github = entry(text, 'github')?.definition;
    assert.ok(github?.kind === 'stdio');
    assert.deepEqual(github.env.get('TOKEN'), ['Bearer ', { env: 'GH' }]);
    assert.deepEqual(github.env.get('K'), [{ input: 'key' }]);
    assert.equal(entry(text, 'crm')?.definition.kind, 'http');
    assert.deepEqual(entry(text, 'crm')?.path, ['servers', 'crm']);
  });

  it('keep a dollar where their agent would', () => {
    const text = '{"mcpServers":{"a":{"command":"x","env":{"P":"pa$word","Q":"${Q:-d}"}}}}';
    const read = (dialect: 'braces' | 'shell') => {
      const [found] = jsonEntries(text, { ...look, dialect });
      assert.ok(found?.definition.kind === 'stdio');
      return [...found.definition.env.values()];
    };
    assert.deepEqual(read('braces'), [['pa$word'], [{ env: 'Q', fallback: 'd' }]]);
    assert.deepEqual(read('shell')[0], ['pa', { env: 'word' }]);
  });

  it('of each project of one file are told apart', () => {
    const text = JSON.stringify({ mcpServers: { a: { command: 'x' } }, projects: { '/p.q/r': { mcpServers: { a: { command: 'y' } } } } });
    assert.deepEqual(
      jsonEntries(text, look).map(({ path }) => path),
      [
        ['mcpServers', 'a'],
        ['projects', '/p.q/r', 'mcpServers', 'a'],
      ],
    );
  });

  it('that are there twice, or say a thing twice, are not taken for clear: clients differ in which they believe', () => {
    assert.equal(entry('{"servers":{"a":{"command":"good"},"a":{"command":"evil"}}}', 'a')?.definition.kind, 'unclear');
    assert.equal(entry('{"servers":{"a":{"command":"good","command":"evil"}}}', 'a')?.definition.kind, 'unclear');
    assert.equal(entry('{"servers":{"a":{"command":"x","env":{"A":"1","A":"2"}}}}', 'a')?.definition.kind, 'unclear');
    assert.deepEqual(jsonEntries('{"servers":{"a":{"command":"x"}},"servers":{}}', look), []);
  });

  it('count as ours only to the letter', () => {
    const ours = (extra: object) => entry(JSON.stringify({ servers: { a: { command: LAUNCHER, args: ['github'], ...extra } } }), 'a')?.definition.kind;
    assert.equal(ours({}), 'ours');
    assert.equal(ours({ type: 'stdio', disabled: true }), 'ours');
    assert.equal(ours({ env: { NODE_OPTIONS: '--require /tmp/evil.js' } }), 'unclear');
    assert.equal(ours({ envFile: '.env' }), 'unclear');
    assert.equal(ours({ cwd: '/tmp' }), 'unclear');
    assert.equal(ours({ args: ['github', 'more'] }), 'unclear');
    assert.equal(ours({ args: [] }), 'unclear');
  });

  it('do not bring the extension down by nesting', () => {
    assert.throws(() => jsonEntries('['.repeat(100_000), look), /nested too deeply/);
  });
});

describe('an entry that is rewritten', () => {
  it('keeps comments, formatting, order and every other setting', () => {
    const before = `{
\t// all of them
\t"servers": {
\t\t/* first */
\t\t"github": {
\t\t\t"type": "stdio", // how
\t\t\t"disabled": false,
\t\t\t"command": "npx",
\t\t\t"args": ["-y", "gh"],
\t\t\t// the key
\t\t\t"env": { "TOKEN": "ghp_secret" },
\t\t\t"timeout": 5 // seconds
\t\t},
\t\t"other": { "command": "x" }
\t}
}
`;
    assert.equal(
      protectJson(before, ['servers', 'github'], launch),
      `{
\t// all of them
\t"servers": {
\t\t/* first */
\t\t"github": {
\t\t\t"type": "stdio", // how
\t\t\t"disabled": false,
\t\t\t"command": "${LAUNCHER}",
\t\t\t"args": ["github"],
\t\t\t// the key
\t\t\t"timeout": 5 // seconds
\t\t},
\t\t"other": { "command": "x" }
\t}
}
`,
    );
  });

  it('is strict JSON where it was strict JSON, whatever is taken out', () => {
    for (const value of [
      { command: 'a', env: { A: '1' } },
      { url: 'https://x/y', headers: { A: '1' } },
      { type: 'http', url: 'https://x/y' },
      { env: { A: '1' }, command: 'a', args: ['b'], cwd: '/', envFile: 'f' },
      { disabled: true, url: 'https://x/y', headers: {}, alwaysAllow: ['a'] },
    ]) {
      for (const indent of [0, 2, '\t']) {
        for (const eol of ['\n', '\r\n']) {
          const before = JSON.stringify({ mcpServers: { github: value, z: { command: 'z' } } }, null, indent).replaceAll('\n', eol);
          const after = protectJson(before, ['mcpServers', 'github'], launch);
          const parsed = JSON.parse(after) as { mcpServers: { github: Record<string, unknown> } };
          assert.equal(entry(after, 'github')?.definition.kind, 'ours', after);
          assert.equal(parsed.mcpServers.github.env, undefined);
          assert.equal(parsed.mcpServers.github.headers, undefined);
          assert.equal(/[^\r]\n/.test(after), eol === '\n' && indent !== 0);
        }
      }
    }
  });

  it('comes back to the character, for any file', () => {
    const space = fc.constantFrom('', ' ', '\n', '\r\n', '\t', ' // c, "x": {\n', '/* } */');
    const key = fc.constantFrom('type', 'env', 'headers', 'args', 'cwd', 'disabled', 'timeout', 'dev', 'x y');
    const value = (name: string) => (name === 'args' ? '["a"]' : name === 'env' || name === 'headers' ? '{ "A": "b,}" }' : name === 'timeout' ? '5' : '"v"');
    const property = key.map((name): readonly [string, string] => [name, value(name)]);
    fc.assert(
      fc.property(
        fc.uniqueArray(property, { selector: ([name]) => name, maxLength: 6 }),
        fc.nat(6),
        fc.constantFrom('command', 'url'),
        fc.array(space, { minLength: 60, maxLength: 60 }),
        fc.boolean(),
        (others, at, main, spaces, trailing) => {
          let n = 0;
          const s = (): string => spaces[n++ % spaces.length] ?? '';
          const all = [...others];
          all.splice(Math.min(at, all.length), 0, [main, main === 'url' ? '"https://a.example/b"' : '"npx"']);
          const body = all.map(([name, v]) => `${s()}"${name}"${s()}:${s()}${v}${s()}`).join(',') + (trailing ? ',' : '');
          const before = `${s()}{${s()}"servers"${s()}:{${s()}"github"${s()}:${s()}{${body}${s()}}${s()},"z":{"command":"q"}}}`;
          const path = ['servers', 'github'];
          const after = protectJson(before, path, launch);
          assert.equal(entry(after, 'github')?.definition.kind, 'ours', `${before}\n---\n${after}`);
          assert.equal(jsonEntryText(after, ['servers', 'z']), '{"command":"q"}');
          assert.equal(restoreJson(after, path, jsonEntryText(before, path)), before);
        },
      ),
      { numRuns: 400 },
    );
  });
});
