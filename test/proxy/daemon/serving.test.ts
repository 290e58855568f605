import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import { Problem } from '../../../contract/problem.ts';
import { freePort } from '../../../demo/freePort.ts';
import { portProblem } from '../../../proxy/daemon/ports.ts';
import { Serving, secretNames } from '../../../proxy/daemon/serving.ts';
import type { McpConnection, PostgresConnection } from '../../../proxy/policy/policy.ts';
import type { Protocol, ProtocolHost, Served } from '../../../proxy/protocols/protocol.ts';
import { until } from '../../support/soon.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const host = { changed: () => undefined } as ProtocolHost;

/** A protocol that really listens, and notes what is done to it. */
class Listening implements Protocol<PostgresConnection> {
  readonly name = 'postgres';
  readonly events: string[] = [];
  /** Awaited before listening. */
  before: (name: string) => Promise<void> = () => Promise.resolve();

  async serve(connection: PostgresConnection): Promise<Served> {
    const { name, port = 0 } = connection;
    this.events.push(`serve ${name}`);
    await this.before(name);
    const server: Server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => reject(portProblem(name, port, cause)));
      server.listen({ host: '127.0.0.1', port, exclusive: true }, resolve);
    });
    const { events } = this;
    return {
      connection,
      state: { state: 'ready' },
      address: `test://127.0.0.1:${port}`,
      retry: () => void events.push(`retry ${name}`),
      stop: (reason) =>
        new Promise((resolve) =>
          server.close(() => {
            events.push(`stop ${name}: ${reason}`);
            resolve();
          }),
        ),
    };
  }
}

function connection(name: string, port: number, more: Partial<PostgresConnection> = {}): PostgresConnection {
  return {
    name,
    protocol: 'postgres',
    via: 'local',
    upstream: { host: 'localhost', port: 1, database: 'd' },
    tls: { mode: 'disable' },
    sensitive: new Map(),
    port,
    ...more,
  };
}

const policy = (...connections: (PostgresConnection | McpConnection)[]): ReadonlyMap<string, PostgresConnection | McpConnection> =>
  new Map(connections.map((one) => [one.name, one]));

let serving: Serving;
function start(protocol: Protocol): Serving {
  serving = new Serving({ protocols: [protocol], host, log: quiet, retryMs: 20 });
  return serving;
}
afterEach(() => serving.stop('the test is over'));

describe('serving the connections of a policy', () => {
  it('after a change touches only what changed', async () => {
    const listening = new Listening();
    const [a, b, c, d] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
    start(listening);
    serving.update(policy(connection('a', a), connection('b', b), connection('c', c)));
    await serving.settled();
    const kept = serving.get('a');
    listening.events.length = 0;
    serving.update(policy(connection('a', a), connection('c', c, { sensitive: new Map([['t.x', 'redact']]) }), connection('d', d)));
    await serving.settled();
    assert.deepEqual(listening.events.sort(), [
      'serve c',
      'serve d',
      'stop b: the policy for b changed; connect again',
      'stop c: the policy for c changed; connect again',
    ]);
    assert.equal(serving.get('a'), kept);
    assert.deepEqual(
      serving.all.map(({ config, state }) => [config.name, state.state]),
      [
        ['a', 'ready'],
        ['c', 'ready'],
        ['d', 'ready'],
      ],
    );
  });

  it('frees a port before it is listened on again, however quickly the policy changes', async () => {
    const listening = new Listening();
    const port = await freePort();
    start(listening);
    for (let i = 0; i < 20; i++) serving.update(policy(connection('a', port, { sensitive: new Map([[`t.c${i}`, 'redact']]) })));
    await serving.settled();
    assert.equal(serving.state('a').state, 'ready');
    assert.ok(serving.get('a')?.connection.sensitive.has('t.c19'));
  });

  it('lets a connection that was removed while it started go again', async () => {
    const listening = new Listening();
    let release: () => void = () => undefined;
    listening.before = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const port = await freePort();
    start(listening);
    serving.update(policy(connection('a', port)));
    await new Promise((resolve) => setImmediate(resolve));
    serving.update(policy());
    release();
    await serving.settled();
    assert.deepEqual(listening.events, ['serve a', 'stop a: stopped while starting']);
    assert.equal(serving.get('a'), undefined);
  });

  it('says that a port is taken, and serves as soon as it is free', async () => {
    const port = await freePort();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
    start(new Listening());
    serving.update(policy(connection('a', port)));
    await serving.settled();
    const state = serving.state('a');
    assert.equal(state.state, 'failed');
    assert.match('problem' in state ? state.problem : '', new RegExp(`Port ${port} .* taken`));
    await new Promise<void>((resolve) => squatter.close(() => resolve()));
    await until('it to be served', () => serving.state('a').state === 'ready');
  });

  it('shows of a fault no more than that there was one, and tries again', async () => {
    const listening = new Listening();
    let faults = 2;
    listening.before = () => (faults-- > 0 ? Promise.reject(new Error('the canary')) : Promise.resolve());
    start(listening);
    serving.update(policy(connection('a', await freePort())));
    await serving.settled();
    const state = serving.state('a');
    assert.doesNotMatch('problem' in state ? state.problem : '', /canary/);
    assert.equal(state.state, 'failed');
    await until('it to be served', () => serving.state('a').state === 'ready');
  });

  it('does not serve what belongs to a gateway or speaks an unknown protocol, and says so once', async () => {
    const listening = new Listening();
    start(listening);
    const mcp: McpConnection = {
      name: 'm',
      protocol: 'mcp',
      via: 'local',
      sensitive: new Map(),
      upstream: { transport: 'http', url: 'http://x', headers: new Map() },
    };
    serving.update(policy(connection('far', 1, { via: 'gateway' }), mcp));
    await serving.settled();
    for (const name of ['far', 'm']) assert.equal(serving.state(name).state, 'failed');
    assert.deepEqual(listening.events, []);
  });

  it('has only those try again that use a secret that has come', async () => {
    const listening = new Listening();
    start(listening);
    const [a, b] = await Promise.all([freePort(), freePort()]);
    serving.update(policy(connection('a', a, { password: { from: 'secret', name: 's' } }), connection('b', b, { password: { from: 'env', name: 's' } })));
    await serving.settled();
    serving.retry('s');
    assert.deepEqual(
      listening.events.filter((event) => event.startsWith('retry')),
      ['retry a'],
    );
  });

  it('goes on stopping where one of them fails to stop', async () => {
    const listening = new Listening();
    const failing: Protocol = {
      name: 'postgres',
      serve: async (config) => {
        const served = await listening.serve(config as PostgresConnection);
        return config.name === 'a' ? { ...served, stop: (reason) => served.stop(reason).then(() => Promise.reject(new Problem('x', 'x'))) } : served;
      },
    };
    start(failing);
    const [a, b] = await Promise.all([freePort(), freePort()]);
    serving.update(policy(connection('a', a), connection('b', b)));
    await serving.settled();
    await serving.stop('shutting down');
    assert.deepEqual(listening.events.filter((event) => event.startsWith('stop')).sort(), ['stop a: shutting down', 'stop b: shutting down']);
  });
});

describe('the secrets of a connection', () => {
  it('are those of its variables and headers', () => {
    const upstream = {
      transport: 'stdio' as const,
      command: ['x'],
      env: new Map<string, string | { from: 'secret'; name: string }>([
        ['A', 'plain'],
        ['B', { from: 'secret', name: 'b' }],
      ]),
    };
    assert.deepEqual(secretNames({ name: 'm', protocol: 'mcp', via: 'local', sensitive: new Map(), upstream }), ['b']);
  });
});
