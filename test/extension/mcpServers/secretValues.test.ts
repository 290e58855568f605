import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseEnvFile } from '../../../extension/mcpServers/envFile.ts';
import { isSecretArgument, isSecretHeader, isSecretVariable } from '../../../extension/mcpServers/secretValues.ts';

describe('what counts as a secret', () => {
  it('is a variable by its name or by its value', () => {
    for (const name of ['GITHUB_TOKEN', 'API_KEY', 'OPENAI_KEY', 'DB_PASSWORD', 'DATABASE_URL', 'SLACK_WEBHOOK', 'MY_PAT', 'aws_secret_access_key'])
      assert.ok(isSecretVariable(name, 'x'), name);
    for (const value of ['postgres://u:p@h/d', 'ghp_abcdefgh12345', 'Bearer abcdefghij', 'aZ3kf92Lq0Pm4Xc8Vb1Nt6Ry', 'https://h/x?api_key=abcdef12'])
      assert.ok(isSecretVariable('X', value), value);
    for (const [name, value] of [
      ['LEVEL', 'info'],
      ['NODE_ENV', 'production'],
      ['PATH', '/usr/local/bin:/usr/bin'],
      ['HOST', 'https://gitlab.example.com/api/v4'],
      ['ALLOWED_DIRECTORY', '/home/me/some-long-folder-name/with-parts'],
      ['PACKAGE', '@modelcontextprotocol/server-filesystem'],
      ['TOKEN', ''],
    ] as const)
      assert.ok(!isSecretVariable(name, value), name);
  });

  it('is every header that says who asks', () => {
    assert.ok(isSecretHeader('Authorization', 'x'));
    assert.ok(isSecretHeader('X-Team', 'x'));
    assert.ok(!isSecretHeader('Accept', 'application/json'));
  });

  it('is an argument by the option before it, in it, or by its look', () => {
    assert.ok(isSecretArgument('abc', '--api-key'));
    assert.ok(isSecretArgument('--token=abc', undefined));
    assert.ok(isSecretArgument('postgresql://u:p@h/db', undefined));
    for (const [value, before] of [
      ['-y', undefined],
      ['@modelcontextprotocol/server-everything@2026.8.31', '-y'],
      ['--stdio', '--verbose'],
      ['/home/me/projects', undefined],
      ['--token', undefined],
    ] as const)
      assert.ok(!isSecretArgument(value, before), value);
  });

  it('is read from a file of variables as shells write them', () => {
    assert.deepEqual(
      [...parseEnvFile('# c\nA=1 # one\nexport B="two \\"x\\"\\nline"\nC=\'th#ree\'\nD=\nbad line\n')],
      [
        ['A', '1'],
        ['B', 'two "x"\nline'],
        ['C', 'th#ree'],
        ['D', ''],
      ],
    );
  });
});
