import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort } from '../../../demo/freePort.ts';
import { Ports, portProblem, portRange } from '../../../proxy/daemon/ports.ts';

let folder: string;
let files = 0;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-ports-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));
const newFile = (): string => join(folder, `ports-${files++}.json`);
const RANGE = { from: 21_000, to: 21_200 };

describe('a connection’s port', () => {
  it('is the configured one where there is one', async () => {
    assert.equal(await new Ports(newFile(), RANGE).of('orders', 5_555), 5_555);
  });

  it('is chosen once, kept in a private file, and the same after a restart', async () => {
    const file = newFile();
    const ports = new Ports(file, RANGE);
    const port = await ports.of('orders');
    assert.ok(port >= RANGE.from && port <= RANGE.to);
    assert.equal(await ports.of('orders'), port);
    assert.equal(await new Ports(file, RANGE).of('orders'), port);
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { orders: port });
    if (process.platform !== 'win32') assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  it('is never exchanged for another, even while somebody else listens on it', async () => {
    const port = await freePort();
    const file = newFile();
    writeFileSync(file, JSON.stringify({ orders: port }));
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', () => resolve()));
    assert.equal(await new Ports(file, RANGE).of('orders'), port);
    await new Promise<void>((resolve) => squatter.close(() => resolve()));
  });

  it('is another for each of many that ask at once', async () => {
    const ports = new Ports(newFile(), RANGE);
    const chosen = await Promise.all(Array.from({ length: 30 }, (_, i) => ports.of(`c${i}`)));
    assert.equal(new Set(chosen).size, 30);
    assert.equal(await ports.of('__proto__'), await ports.of('__proto__'));
  });

  it('is not chosen where somebody listens, and a full range gets a sentence', async () => {
    const taken = await freePort();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(taken, '127.0.0.1', () => resolve()));
    await assert.rejects(new Ports(newFile(), { from: taken, to: taken }).of('orders'), {
      code: 'ports',
      message: new RegExp(`Every port from ${taken} to ${taken} is taken`),
    });
    await new Promise<void>((resolve) => squatter.close(() => resolve()));
  });
});

describe('the file of ports', () => {
  it('is a problem rather than an empty list where it is damaged', () => {
    for (const text of ['', '{', '[]', '{"a":"1"}', '{"a":80}', '{"a":70000}', 'x'.repeat(70_000)]) {
      const file = newFile();
      writeFileSync(file, text);
      assert.throws(() => new Ports(file, RANGE), text.slice(0, 20));
    }
  });
});

describe('a range of ports', () => {
  it('is read from the environment, and refused with an example where it is none', () => {
    assert.deepEqual(portRange('2000-3000'), { from: 2000, to: 3000 });
    assert.equal(portRange(undefined).from > 1024, true);
    for (const text of ['x', '1-2', '3000-2000', '2000', '2000-99999', '-1-2000', '2000-3000,4000'])
      assert.throws(() => portRange(text), { code: 'ports', message: /28100-28899/ });
  });
});

describe('a port that cannot be had', () => {
  it('is named in a sentence that says what it means', () => {
    const { message } = portProblem('orders', 5_432, Object.assign(new Error('listen'), { code: 'EADDRINUSE' }));
    assert.match(message, /Port 5432 on 127\.0\.0\.1 is taken by another program, so orders is not served/);
  });
});
