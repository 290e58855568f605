import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';
import { fileLog, logLine } from '../../proxy/log.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-log-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const line = (fields: Record<string, unknown>): Record<string, unknown> => JSON.parse(logLine(0, 'info', 'test', fields)) as Record<string, unknown>;

describe('a log line', () => {
  it('is JSON with a time, a level and an event, which no field can replace', () => {
    const { at, level, event, pid } = line({ at: 'never', level: 'x', event: 'y', pid: 1 });
    assert.deepEqual({ at, level, event, pid }, { at: '1970-01-01T00:00:00.000Z', level: 'info', event: 'test', pid: process.pid });
  });

  it('hides what a secret-looking key holds, at any depth, and secrets under any key', () => {
    const hidden = [
      'password',
      'PGPASSWORD',
      'secret',
      'clientSecret',
      'token',
      'Authorization',
      'bearer',
      'cookie',
      'api_key',
      'apiKey',
      'privateKey',
      'proof',
      'payload',
      'params',
      'sql',
      'rows',
      'body',
      'arguments',
    ];
    for (const key of hidden) assert.doesNotMatch(logLine(0, 'info', 'test', { deep: [{ [key]: { inner: 'canary' } }] }), /canary/, key);
    assert.doesNotMatch(
      logLine(0, 'info', 'test', { harmless: new Secret('canary'), list: [new Secret('canary')], buffer: Buffer.from('canary') }),
      /canary|Y2FuYXJ5/,
    );
  });

  it('keeps the code and the place of an error, and its message only where it is ours', () => {
    const database = Object.assign(new Error('invalid input syntax: "canary@example.org"'), { code: '22P02', detail: 'canary' });
    const { cause } = line({ cause: database }) as { cause: { code: string; at: string[] } };
    assert.equal(cause.code, '22P02');
    assert.match(cause.at[0] ?? '', /log\.test\.ts/);
    assert.doesNotMatch(JSON.stringify(cause), /canary/);
    assert.match(logLine(0, 'info', 'test', { cause: new Problem('disk-full', 'The disk is full.') }), /The disk is full/);
    assert.doesNotMatch(logLine(0, 'info', 'test', { cause: new Problem('x', 'ours', { cause: new Error('canary') }) }), /canary/);
  });

  it('is one line of at most 16 KB of JSON, whatever it is given', () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    const thrower = {
      get boom(): never {
        throw new Error('boom');
      },
    };
    for (const fields of [
      cyclic,
      { long: 'x'.repeat(1e6) },
      { many: Array.from({ length: 1e4 }, () => 'y'.repeat(500)) },
      { f: () => 1, s: Symbol('s'), b: 1n, u: undefined, d: new Date(NaN) },
    ]) {
      const text = logLine(0, 'info', 'test', fields);
      assert.ok(text.length <= 16_384);
      assert.doesNotMatch(text, /\n/);
      JSON.parse(text);
    }
    assert.doesNotThrow(() => fileLog(join(folder, 'thrower', 'x.log')).info('test', thrower));
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.anything({ maxDepth: 6 })), (fields) => typeof JSON.parse(logLine(0, 'info', 'e', fields)) === 'object'),
    );
  });

  it('cannot be forged by a line end or a key with a meaning in its data', () => {
    const text = logLine(0, 'info', 'test', { agent: 'x\n{"level":"error"}\r\u2028', ['__proto__']: { polluted: true } });
    assert.equal(text.split(/[\n\r]/).length, 1);
    assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  });
});

describe('the log file', () => {
  it('is private, and rotated before it grows past its size', () => {
    const path = join(folder, 'rotated', 'proxy.log');
    const log = fileLog(path, { maxFileBytes: 1_000 });
    for (let i = 0; i < 200; i++) log.info('event', { i });
    const files = readdirSync(join(folder, 'rotated')).sort();
    assert.deepEqual(files, ['proxy.log', 'proxy.log.1', 'proxy.log.2', 'proxy.log.3']);
    for (const file of files) {
      const stat = statSync(join(folder, 'rotated', file));
      assert.ok(stat.size <= 1_000);
      if (process.platform !== 'win32') assert.equal(stat.mode & 0o077, 0);
    }
    assert.equal((JSON.parse(readFileSync(path, 'utf8').trim().split('\n').at(-1) ?? '') as { i: number }).i, 199);
  });

  it('goes on with the file of an earlier start', () => {
    const path = join(folder, 'again.log');
    fileLog(path).info('one');
    fileLog(path).info('two');
    assert.equal(readFileSync(path, 'utf8').trim().split('\n').length, 2);
  });

  it('fails silently where it cannot be written', () => {
    writeFileSync(join(folder, 'a-file'), '');
    assert.doesNotThrow(() => fileLog(join(folder, 'a-file', 'proxy.log')).error('lost'));
  });
});
