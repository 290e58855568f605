import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { listeners } from '../proxy/daemon/listeners.ts';
import { Shop } from './shop.ts';
import { Stage } from './stage.ts';

const OPTIONS = { timeout: 300_000 };
const CONNECT_MS = 2_000;

let shop: Shop;
let stage: Stage;
before(async () => {
  shop = await Shop.open();
  stage = await Stage.open(shop);
  // With every surface in use.
  await (await stage.terminal()).query('SELECT 1');
  await (await stage.mcp()).listTools();
});
after(async () => {
  await stage.close();
  await shop.close();
});

/** What becomes of an attempt to connect: `connected`, or the error's code. */
function attempt(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (what: string): void => {
      socket.destroy();
      resolve(what);
    };
    socket.setTimeout(CONNECT_MS, () => settle('no answer'));
    socket.once('connect', () => settle('connected'));
    socket.once('error', (cause: NodeJS.ErrnoException) => settle(cause.code ?? cause.message));
  });
}

async function ports(): Promise<number[]> {
  const { environment, mcp } = await stage.access();
  return [Number(environment.PGPORT), ...mcp.map(({ url }) => Number(new URL(url).port))];
}

describe('the proxy', OPTIONS, () => {
  it('listens on loopback and nowhere else', { skip: process.platform === 'linux' ? false : 'the kernel is asked by way of /proc' }, async () => {
    const found = listeners(stage.proxy.child.pid ?? 0);
    for (const { address, port } of found) assert.equal(address, '127.0.0.1', `port ${port}`);
    const open = new Set(found.map(({ port }) => port));
    for (const port of await ports()) assert.ok(open.has(port), `port ${port}`);
  });

  it('answers on loopback, and on no other address of this machine', async () => {
    const others = Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).filter(({ internal }) => !internal));
    for (const port of await ports()) {
      assert.equal(await attempt('127.0.0.1', port), 'connected');
      for (const { address, scopeid } of others) assert.notEqual(await attempt(scopeid ? `${address}%${scopeid}` : address, port), 'connected', address);
    }
  });

  it('keeps its control channel where no other user can reach it', { skip: process.platform === 'win32' ? 'a pipe there' : false }, () => {
    const { socket } = stage.proxy.at;
    assert.equal(statSync(dirname(socket)).mode & 0o077, 0);
    assert.equal(statSync(stage.home.path).mode & 0o077, 0);
  });
});
