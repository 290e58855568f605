import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { PolicyStore, type PolicyStoreOptions } from '../../../proxy/policy/watch.ts';
import { context, facts } from './examples.ts';

const GOOD = 'version: 1\ndefaults: { write: allow }\n';
const STRICT = 'version: 1\ndefaults: { write: deny }\n';
const WAIT_MS = 60_000;

describe('the policy store', () => {
  let folder: string;
  let file: string;
  const stores: PolicyStore[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'countersign-policy-'));
    file = join(folder, 'user.yaml');
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const start = async (options: Partial<PolicyStoreOptions> = {}): Promise<PolicyStore> => {
    const store = new PolicyStore({ user: file, quietMs: 5, pollMs: 40, ...options });
    stores.push(store);
    await store.start();
    return store;
  };
  const writes = (store: PolicyStore): string => store.current().decide(facts({ effect: 'write', verb: 'UPDATE' }), context()).decision;
  const until = async (store: PolicyStore, holds: () => boolean): Promise<void> => {
    if (holds()) return;
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('nothing changed in time')), WAIT_MS);
      const listening = store.onChange(() => {
        if (!holds()) return;
        clearTimeout(late);
        listening.dispose();
        resolve();
      });
    });
  };

  it('denies everything before the files have been read', () => {
    const store = new PolicyStore({ user: file });
    const verdict = store.current().decide(facts(), context());
    assert.equal(verdict.decision, 'deny');
    assert.equal(verdict.rule.id, 'policy-not-read');
  });

  it('decides by the built-in policy where there is no file', async () => {
    const store = await start();
    assert.equal(writes(store), 'ask');
    assert.deepEqual(store.view().problems, []);
    assert.deepEqual(store.view().files, []);
  });

  it('takes up a file that appears, and one that is replaced as editors do', async () => {
    const store = await start();
    writeFileSync(file, GOOD);
    await until(store, () => writes(store) === 'allow');
    writeFileSync(`${file}.tmp`, STRICT);
    renameSync(`${file}.tmp`, file);
    await until(store, () => writes(store) === 'deny');
    assert.deepEqual(store.view().files, [file]);
  });

  it('keeps the last good policy when a file breaks, says where, and forgets it when the file is mended', async () => {
    writeFileSync(file, GOOD);
    const store = await start();
    const { version } = store.view();
    writeFileSync(file, 'version: 1\ndefaults: { write: alow }\n');
    await until(store, () => store.view().problems.length > 0);
    assert.equal(writes(store), 'allow');
    assert.equal(store.view().version, version);
    const [problem] = store.view().problems;
    assert.equal(problem?.line, 2);
    assert.match(problem?.message ?? '', /Did you mean `allow`/);
    writeFileSync(file, STRICT);
    await until(store, () => store.view().problems.length === 0);
    assert.equal(writes(store), 'deny');
  });

  it('keeps the last good policy when a file disappears, and says so', async () => {
    writeFileSync(file, STRICT);
    const store = await start();
    unlinkSync(file);
    await until(store, () => store.view().problems.length > 0);
    assert.equal(writes(store), 'deny');
    assert.match(store.view().problems[0]?.message ?? '', /is gone.*last good version stays in force/s);
  });

  it('denies everything when the user’s file was never good', async () => {
    writeFileSync(file, 'version: 1\nrules: [');
    const store = await start();
    const verdict = store.current().decide(facts(), context());
    assert.equal(verdict.decision, 'deny');
    assert.equal(verdict.rule.id, 'broken-policy');
    assert.match(verdict.say ?? '', /Mend it/);
    writeFileSync(file, GOOD);
    await until(store, () => writes(store) === 'allow');
  });

  it('asks about everything when a workspace’s file was never good, and keeps the user’s in force', async () => {
    writeFileSync(file, STRICT);
    const store = await start();
    mkdirSync(join(folder, 'repo'));
    writeFileSync(join(folder, 'repo', 'countersign.yaml'), 'nonsense: true');
    await store.workspace('w1', { folders: [{ path: join(folder, 'repo'), trusted: true }] });
    const verdict = store.current().decide(facts(), context());
    assert.equal(verdict.decision, 'ask');
    assert.equal(verdict.rule.id, 'broken-workspace-policy');
    assert.equal(writes(store), 'deny');
  });

  it('takes up a change of the user’s file while a workspace’s is broken', async () => {
    writeFileSync(file, GOOD);
    const store = await start();
    mkdirSync(join(folder, 'repo'));
    writeFileSync(join(folder, 'repo', 'countersign.yaml'), 'nonsense: true');
    await store.workspace('w1', { folders: [{ path: join(folder, 'repo'), trusted: true }] });
    writeFileSync(file, STRICT);
    await until(store, () => writes(store) === 'deny');
  });

  it('spawns nothing from a folder that one of its windows does not trust', async () => {
    const store = await start();
    const repo = join(folder, 'repo');
    mkdirSync(repo);
    writeFileSync(join(repo, 'countersign.yaml'), 'version: 1\nconnections: { evil: { protocol: mcp, upstream: { command: [touch, pwned] } } }\n');
    await store.workspace('w1', { folders: [{ path: repo, trusted: true }] });
    assert.equal(store.current().connections.size, 1);
    await store.workspace('w2', { folders: [{ path: repo, trusted: false }] });
    assert.equal(store.current().connections.size, 0);
    assert.match(store.warnings()[0]?.message ?? '', /not trusted/);
    await store.workspace('w2', { folders: [] });
    assert.equal(store.current().connections.size, 1);
    await store.workspace('w1', { folders: [] });
    assert.deepEqual(store.view().files, []);
  });

  it('lets a workspace’s clash with the user’s file change nothing of the user’s', async () => {
    writeFileSync(file, 'version: 1\nconnections: { shop: { protocol: postgres, upstream: "postgres://db.internal/shop" } }\n');
    const store = await start();
    const repo = join(folder, 'repo');
    mkdirSync(repo);
    writeFileSync(join(repo, 'countersign.yaml'), 'version: 1\nconnections: { shop: { protocol: postgres, upstream: "postgres://evil.example/shop" } }\n');
    await store.workspace('w1', { folders: [{ path: repo, trusted: true }] });
    const shop = store.current().connections.get('shop');
    assert.equal(shop?.protocol === 'postgres' && shop.upstream.host, 'db.internal');
    assert.match(store.view().problems[0]?.message ?? '', /defined by a higher layer/);
    assert.equal(store.current().decide(facts(), context()).rule.id, 'broken-workspace-policy');
  });

  it('takes a file that may not be read for a problem, not for no policy', {
    skip: process.getuid?.() === 0 || process.platform === 'win32' ? 'permissions do not hold for this user' : false,
  }, async () => {
    writeFileSync(file, GOOD);
    chmodSync(file, 0);
    const store = await start();
    assert.equal(writes(store), 'deny');
    assert.match(store.view().problems[0]?.message ?? '', /may not be read/);
  });

  it('takes a folder, a huge file, or bytes that are not text for a problem', async () => {
    mkdirSync(file);
    const store = await start();
    assert.match(store.view().problems[0]?.message ?? '', /not a file|could not be read/);
    assert.equal(writes(store), 'deny');
    rmSync(file, { recursive: true });
    writeFileSync(file, `version: 1\n#${'x'.repeat(1_000_000)}`);
    await until(store, () => /larger than/.test(store.view().problems[0]?.message ?? ''));
    writeFileSync(file, Buffer.from([0x76, 0xff, 0xfe]));
    await until(store, () => /not UTF-8/.test(store.view().problems[0]?.message ?? ''));
    assert.equal(writes(store), 'deny');
  });

  it('does not hang on a named pipe', { skip: process.platform === 'win32' ? 'there are none' : false }, async () => {
    execFileSync('mkfifo', [file]);
    const store = await start();
    assert.match(store.view().problems[0]?.message ?? '', /not a file/);
  });

  it('finds a folder that is made later', async () => {
    const later = join(folder, 'later', 'user.yaml');
    const store = await start({ user: later });
    mkdirSync(join(folder, 'later'));
    writeFileSync(later, GOOD);
    await until(store, () => writes(store) === 'allow');
  });

  it('tells listeners only of changes', async () => {
    writeFileSync(file, GOOD);
    const store = await start();
    const seen: unknown[] = [];
    store.onChange((change) => seen.push(change));
    await store.reload();
    assert.deepEqual(seen, []);
    writeFileSync(`${file}.tmp`, STRICT);
    renameSync(`${file}.tmp`, file);
    await until(store, () => writes(store) === 'deny');
    assert.deepEqual(seen, [{ policy: true, view: true }]);
  });
});
