import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig } from '../../../gateway/config/load.ts';
import { temporaryFolder } from '../stores.ts';

function load(yaml: string, env: Record<string, string> = {}): ReturnType<typeof loadConfig> {
  const file = join(temporaryFolder(), 'gateway.yaml');
  writeFileSync(file, yaml);
  return loadConfig(file, env);
}

function problems(yaml: string, env: Record<string, string> = {}): string[] {
  const result = load(yaml, env);
  return result.ok ? [] : result.problems.map(({ line, message }) => `${line}: ${message}`);
}

const GOOD = 'version: 1\npublicUrl: https://gateway.example\n';

describe('the gateway’s configuration', () => {
  it('needs a public address and nothing else', () => {
    const result = load(GOOD);
    assert.ok(result.ok);
    assert.equal(result.config.database.kind, 'embedded');
    assert.equal(result.config.identity.tokenLifetime, 600);
  });

  it('takes the store from DATABASE_URL, and other things from their variables, over the file', () => {
    const result = load(GOOD, { DATABASE_URL: 'postgres://u:hidden@db/x', COUNTERSIGN_GATEWAY_PUBLIC_URL: 'https://other.example/' });
    assert.ok(result.ok);
    assert.equal(result.config.database.kind, 'postgres');
    assert.equal(result.config.publicUrl, 'https://other.example');
    assert.ok(!JSON.stringify(result.config).includes('hidden'));
  });

  it('names the line of what is wrong', () => {
    assert.deepEqual(problems('version: 1\npublicUrl: http://gateway.example\nlisen: x\n'), [
      '2: `publicUrl`: Write an `https://` address (`http://` only for this machine).',
      '3: `lisen` is not known here. Remove it, or check its spelling.',
    ]);
    assert.match(problems('version: 1\n')[0] ?? '', /`publicUrl` is missing/);
  });

  it('names the variable where that is what is wrong', () => {
    const result = load(GOOD, { COUNTERSIGN_GATEWAY_LISTEN: 'nowhere' });
    assert.ok(!result.ok);
    assert.equal(result.problems[0]?.file, 'COUNTERSIGN_GATEWAY_LISTEN');
  });

  it('is not open to the network without TLS unless it says that TLS ends elsewhere', () => {
    assert.match(problems(`${GOOD}listen: 0.0.0.0:8443\n`)[0] ?? '', /without TLS/);
    assert.deepEqual(problems(`${GOOD}listen: 0.0.0.0:8443\ntls: elsewhere\n`), []);
  });

  it('holds no secret, only where each is', () => {
    assert.match(problems(`${GOOD}key: 0123456789abcdef\n`)[0] ?? '', /Do not write a secret here/);
    assert.match(problems(`${GOOD}database: env:NOT_SET\n`)[0] ?? '', /NOT_SET is not set/);
  });

  it('takes records to a bucket or a folder, and says what does not go together', () => {
    const s3 = '  s3: { bucket: records, region: eu-central-1 }\n';
    assert.deepEqual(problems(`${GOOD}recordings:\n${s3}`), []);
    assert.deepEqual(problems(`${GOOD}recordings:\n${s3}  folder: /records\n`), ['4: `s3` and `folder` cannot both be. Keep one.']);
    assert.match(problems(`${GOOD}recordings:\n  s3: { bucket: records }\n`)[0] ?? '', /^4: Say in which `region`/);
    assert.match(
      problems(`${GOOD}recordings:\n  s3: { bucket: records, region: x1, login: { accessKeyId: AKIA, secretAccessKey: env:S } }\n`)[0] ?? '',
      /Do not write a secret here/,
    );
    assert.match(
      problems(`${GOOD}recordings:\n  s3: { bucket: records, region: x1, login: { accessKeyId: env:A } }\n`)[0] ?? '',
      /or `role` and `webIdentity`/,
    );
    assert.match(
      problems(`${GOOD}recordings:\n  keepDays: 10\n  s3: { bucket: records, region: x1, lock: { mode: compliance, days: 30 } }\n`)[0] ?? '',
      /^4: Records cannot be removed after 10 days and be locked for 30/,
    );
  });
});
