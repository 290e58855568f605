import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { loadConfig } from '../../gateway/config/load.ts';
import { Allowed } from '../../gateway/edge/process/allow.ts';
import { loadEdgeConfig } from '../../gateway/edge/process/config.ts';
import { loadPolicy } from '../../proxy/policy/load.ts';
import { temporaryFolder } from '../gateway/stores.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const DEPLOY = join(ROOT, 'deploy');
const CHART = join(DEPLOY, 'helm/countersign-gateway');
const read = (...path: string[]): string => readFileSync(join(...path), 'utf8');

const Compose = z.object({
  services: z.record(
    z.string(),
    z.object({
      command: z.array(z.string()).optional(),
      environment: z.record(z.string(), z.string()).optional(),
      volumes: z.array(z.string()).optional(),
      depends_on: z.unknown().optional(),
    }),
  ),
});

describe('the compose file', () => {
  const { services } = Compose.parse(parse(read(DEPLOY, 'compose.yaml'), { merge: true }));

  it('mounts files that exist, and runs two replicas', () => {
    const files = Object.values(services).flatMap(({ volumes }) => (volumes ?? []).filter((volume) => volume.startsWith('./')));
    assert.ok(files.length >= 6);
    for (const volume of files) assert.ok(existsSync(join(DEPLOY, volume.split(':')[0] ?? '')), volume);
    assert.equal(Object.keys(services).filter((name) => name.startsWith('gateway-')).length, 2);
  });

  it('gives each replica a configuration that the gateway takes, and an address of its own', () => {
    const listens = ['gateway-1', 'gateway-2'].map((name) => {
      const env = { ...services[name]?.environment, COUNTERSIGN_KEY: 'ab'.repeat(32) };
      const loaded = loadConfig(join(DEPLOY, 'try/gateway.yaml'), env);
      assert.ok(loaded.ok, JSON.stringify(loaded));
      return loaded.config.listen;
    });
    assert.equal(new Set(listens).size, 2);
    for (const listen of listens) assert.match(read(DEPLOY, 'try/Caddyfile'), new RegExp(listen.replaceAll('.', '\\.')));
  });

  it('has an edge that may be led to what the policy puts behind it, and to nothing else', async () => {
    const loaded = loadEdgeConfig({ config: join(DEPLOY, 'try/edge.yaml'), join: 'http://localhost:8080' }, services.edge?.environment ?? {});
    assert.ok(loaded.ok, JSON.stringify(loaded));
    const policy = loadPolicy([{ layer: 'organisation', file: 'countersign.yaml', text: read(DEPLOY, 'try/countersign.yaml') }], { gateway: true });
    assert.ok(policy.ok);
    const behind = [...policy.policy.connections.values()].filter(({ edge }) => edge === 'try');
    assert.equal(behind.length, 1);
    const allowed = new Allowed(loaded.config.allow);
    for (const { upstream } of behind) assert.ok('host' in upstream && allowed.judge(upstream) === 'yes');
    assert.equal(allowed.judge({ host: '127.0.0.1', port: 22 }), 'no');
  });

  it('begins with a policy that compiles where there is a gateway', () => {
    const loaded = loadPolicy([{ layer: 'organisation', file: 'countersign.yaml', text: read(DEPLOY, 'try/countersign.yaml') }], { gateway: true });
    assert.ok(loaded.ok, JSON.stringify(loaded));
  });

  it('names the bucket, its server and its keys alike on both sides', () => {
    const env = services['gateway-1']?.environment ?? {};
    const loaded = loadConfig(join(DEPLOY, 'try/gateway.yaml'), { ...env, COUNTERSIGN_KEY: 'ab'.repeat(32) });
    assert.ok(loaded.ok, JSON.stringify(loaded));
    const { s3 } = loaded.config.recordings;
    const storage = services.storage?.command ?? [];
    assert.equal(`http://${storage[storage.indexOf('-p') + 1]}`, s3?.endpoint);
    assert.equal(storage[storage.indexOf('-a') + 1], env.S3_KEY_ID);
    assert.equal(storage[storage.indexOf('-s') + 1], env.S3_SECRET);
    assert.deepEqual(services.bucket?.command, ['mkdir', '-p', `${storage.at(-1)}/${s3?.bucket}`]);
  });

  it('names the provider, its client and the people alike on both sides', () => {
    const dex = parse(read(DEPLOY, 'try/dex.yaml')) as {
      issuer: string;
      staticClients: { id: string; redirectURIs: string[] }[];
      staticPasswords: { userID: string }[];
    };
    const gateway = parse(read(DEPLOY, 'try/gateway.yaml')) as {
      publicUrl: string;
      identity: { providers: { id: string; issuer: string; clientId: string }[]; roles: { admin: string[] } };
    };
    const [provider] = gateway.identity.providers;
    assert.equal(provider?.issuer, dex.issuer);
    assert.equal(provider?.clientId, dex.staticClients[0]?.id);
    assert.deepEqual(dex.staticClients[0]?.redirectURIs, [`${gateway.publicUrl}/login/${provider?.id}/callback`]);
    // The provider's subject is made of the person's id and where the password is kept: a protobuf message, base64url.
    const field = (tag: number, text: string): Buffer => Buffer.concat([Buffer.of(tag, text.length), Buffer.from(text)]);
    const dana = Buffer.concat([field(0x0a, 'dana'), field(0x12, 'local')]).toString('base64url');
    assert.deepEqual(gateway.identity.roles.admin, [`user:${dana}`]);
  });
});

describe('the chart', () => {
  const Values = z.looseObject({ config: z.record(z.string(), z.unknown()) });
  const folder = temporaryFolder();
  /** What the ConfigMap would hold: the chart's values under those of a file. */
  const configOf = (over: Record<string, unknown>): string => {
    const file = join(folder, 'gateway.yaml');
    writeFileSync(file, JSON.stringify({ ...Values.parse(parse(read(CHART, 'values.yaml'))).config, ...over }));
    return file;
  };
  const env = { DATABASE_URL: 'postgres://db/countersign', COUNTERSIGN_KEY: 'cd'.repeat(32), OIDC_SECRET: 'x', METRICS_TOKEN: 'y' };

  it('has defaults that the gateway takes once it knows its address', () => {
    assert.ok(loadConfig(configOf({ publicUrl: 'https://countersign.example' }), env).ok);
    assert.equal(loadConfig(configOf({}), env).ok, false);
  });

  it('has an example that the gateway takes', () => {
    const example = Values.parse(parse(read(DEPLOY, 'helm/example-values.yaml')));
    const loaded = loadConfig(configOf(example.config), env);
    assert.ok(loaded.ok, JSON.stringify(loaded));
  });

  it('speaks of no value that is not among its defaults', () => {
    const values = parse(read(CHART, 'values.yaml')) as Record<string, unknown>;
    for (const file of readdirSync(join(CHART, 'templates'))) {
      for (const [, path = ''] of read(CHART, 'templates', file).matchAll(/\.Values\.([\w.]+)/g)) {
        if (path.startsWith('config.')) continue;
        const found = path
          .split('.')
          .reduce<unknown>((at, key) => (typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[key] : undefined), values);
        assert.notEqual(found, undefined, `${file}: .Values.${path}`);
      }
    }
  });
});

describe('the edge’s chart', () => {
  const EDGE = join(DEPLOY, 'helm/countersign-edge');
  const folder = temporaryFolder();
  const configOf = (over: Record<string, unknown>): string => {
    const file = join(folder, 'edge.yaml');
    const { config } = z.looseObject({ config: z.record(z.string(), z.unknown()) }).parse(parse(read(EDGE, 'values.yaml')));
    writeFileSync(file, JSON.stringify({ ...config, ...over }));
    return file;
  };

  it('has defaults and an example that an edge takes, once it knows the gateway and where it may be led', () => {
    assert.equal(loadEdgeConfig({ config: configOf({}) }, {}).ok, false);
    const example = z.object({ config: z.record(z.string(), z.unknown()) }).parse(parse(read(DEPLOY, 'helm/example-edge-values.yaml')));
    const loaded = loadEdgeConfig({ config: configOf(example.config), join: 'https://countersign.example' }, {});
    assert.ok(loaded.ok, JSON.stringify(loaded));
  });

  it('speaks of no value that is not among its defaults', () => {
    const values = parse(read(EDGE, 'values.yaml')) as Record<string, unknown>;
    for (const file of readdirSync(join(EDGE, 'templates'))) {
      for (const [, path = ''] of read(EDGE, 'templates', file).matchAll(/\.Values\.([\w.]+)/g)) {
        const found = path
          .split('.')
          .reduce<unknown>((at, key) => (typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[key] : undefined), values);
        assert.notEqual(found, undefined, `${file}: .Values.${path}`);
      }
    }
  });
});

describe('the image', () => {
  it('copies what the build makes', () => {
    const dockerfile = read(DEPLOY, 'Dockerfile');
    const built = read(ROOT, 'esbuild.mjs');
    for (const [, name = ''] of dockerfile.matchAll(/dist\/(\w+)\.cjs/g)) assert.match(built, new RegExp(`\\b${name}: '`), name);
    assert.match(dockerfile, /^USER 10001/m);
  });
});
