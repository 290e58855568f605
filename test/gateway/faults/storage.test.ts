import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { run } from '../../../cli/run.ts';
import { freePort } from '../../../demo/freePort.ts';
import { Gateway } from '../../../gateway/gateway.ts';
import { checkPlaces } from '../../../gateway/main.ts';
import { Retention } from '../../../gateway/recording/archive/retention.ts';
import { verifyRecords } from '../../../gateway/recording/exportRecord.ts';
import { folderObjects } from '../../../gateway/recording/objects/folder.ts';
import type { ObjectStore } from '../../../gateway/recording/objects/objectStore.ts';
import { openPlaces } from '../../../gateway/recording/objects/open.ts';
import { verifyStore } from '../../../gateway/recording/verifyStore.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import { connect } from '../agent.ts';
import { signed } from '../recording/recordings.ts';
import { BUCKET, REGION, type S3Server, s3Server } from '../s3/s3Server.ts';
import { type Client, type Stage, stage } from '../stage.ts';

describe('a gateway whose records go to a bucket', () => {
  let s3: S3Server;
  let on: Stage;
  let gateway: Gateway;
  let ada: Client;
  let olga: Client;
  const logged: string[] = [];
  const say = (event: string, fields: Readonly<Record<string, unknown>> = {}): void =>
    void logged.push(`${event} ${JSON.stringify(fields, (_k, v: unknown) => (v instanceof Error ? `${v.message} ${JSON.stringify(v.cause)} ${v.stack}` : v))}`);
  const log: Log = { info: say, warn: say, error: say };
  const answers: string[] = [];
  let place: ObjectStore;

  before(async () => {
    s3 = await s3Server();
    on = await stage({
      log,
      env: { S3_ID: s3.accessKeyId, S3_SECRET: s3.secretAccessKey },
      config: {
        recordings: {
          after: 0,
          s3: { bucket: BUCKET, region: REGION, endpoint: s3.endpoint, prefix: 'gw/', login: { accessKeyId: 'env:S3_ID', secretAccessKey: 'env:S3_SECRET' } },
        },
      },
    });
    gateway = on.gateways[0] as Gateway;
    place = openPlaces(gateway.config, on.env).archive as ObjectStore;
    [ada, olga] = [await on.signIn('ada'), await on.signIn('olga')];
    const root = await on.signIn('root');
    const text =
      'version: 1\nconnections:\n  orders: { protocol: postgres, via: gateway, upstream: "postgres://db.example/orders", password: "secret:none" }\n';
    const put = await root.call('PUT', '/v1/policy', { text, comment: 'orders', over: 0 });
    assert.equal(put.status, 200, JSON.stringify(put.body));
  });
  after(async () => {
    await on.stop();
    await s3.stop();
  });

  const used = async (): Promise<string> => {
    const agent = await connect(gateway, ada.token);
    await agent.do({ effect: 'read' });
    await agent.do({ effect: 'read', payload: 'read it again' });
    await agent.session.close('done');
    return agent.session.id;
  };
  const ask = async (who: Client, method: string, path: string, body?: object): Promise<{ status: number; body: Record<string, unknown> }> => {
    const answer = await who.call(method, path, body);
    answers.push(JSON.stringify(answer.body));
    return answer;
  };
  const metric = async (name: string): Promise<number> =>
    Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await (await fetch(`${on.url}/metrics`)).text())?.[1]);

  /** The command, with what the gateway was started with in its environment. */
  const countersign = async (env: Record<string, string>, ...args: string[]): Promise<{ out: string; code: number }> => {
    const lines: string[] = [];
    const say = (line: string): void => void lines.push(line);
    const before = { ...process.env };
    Object.assign(process.env, on.env, env);
    try {
      const code = await run(args, { out: say, error: say, input: async () => '', cwd: on.folder });
      return { code, out: lines.join('\n') };
    } catch (cause) {
      return { code: 1, out: [...lines, String(cause)].join('\n') };
    } finally {
      process.env = before;
    }
  };

  it('shows a session that lies there as before, to its person and to an auditor, and verifies it', async () => {
    const session = await used();
    const before = await ask(ada, 'GET', `/v1/sessions/${session}/entries`);
    await gateway.archiver?.run();
    assert.deepEqual(await gateway.db.query('SELECT 1 FROM entries WHERE session = $1', [session]), []);
    assert.ok(s3.asked.some(({ method, target }) => method === 'PUT' && target.startsWith(`/${BUCKET}/gw/sessions/`)));
    for (const who of [ada, olga]) assert.deepEqual((await ask(who, 'GET', `/v1/sessions/${session}/entries`)).body, before.body);
    assert.ok((before.body.lines as string[]).length >= 6);
    const report = (await ask(olga, 'POST', '/v1/audit/verify', {})).body;
    assert.deepEqual(report.problems, []);
    const { archive } = (await ask(olga, 'GET', '/v1/storage')).body as { archive: object };
    assert.deepEqual(archive, { place: `the bucket records at 127.0.0.1:${s3.port}`, waiting: 0, broken: 0 });
    assert.equal((await ask(ada, 'GET', '/v1/storage')).status, 403);
    assert.ok((await metric('countersign_archived_bytes_total')) > 1_000);
  });

  it('goes on recording while the bucket is away, says so everywhere, and catches up by itself', async () => {
    const there = await used();
    await gateway.archiver?.run();
    s3.fault = () => ({ kind: 'cut', when: 'before' });
    const session = await used();
    await gateway.archiver?.run();
    assert.equal(gateway.core.engine.recorder.halted, undefined);
    assert.equal((await ask(ada, 'GET', `/v1/sessions/${session}/entries`)).status, 200);
    const unread = await ask(ada, 'GET', `/v1/sessions/${there}/entries`);
    assert.deepEqual([unread.status, unread.body.error], [503, 'archive-away']);
    assert.match(String(unread.body.sentence), /is out of reach/);
    const { archive } = (await ask(olga, 'GET', '/v1/storage')).body as { archive: { problem: string; waiting: number } };
    assert.match(archive.problem, /is out of reach: the connection broke.* Records stay in the database until it answers/);
    assert.equal(archive.waiting, 1);
    assert.equal(await metric('countersign_archive_failing'), 1);
    assert.equal((await fetch(`${on.url}/readyz`)).status, 200, 'what can be recorded may be done');
    assert.ok(logged.some((line) => line.startsWith('archive.failed') && line.includes('out of reach')));
    s3.fault = () => undefined;
    await gateway.archiver?.run();
    assert.equal(await metric('countersign_archive_failing'), 0);
    assert.deepEqual(await gateway.db.query('SELECT 1 FROM entries WHERE session = $1', [session]), []);
    assert.deepEqual((await ask(olga, 'POST', '/v1/audit/verify', {})).body.problems, []);
  });

  it('names what was changed there to whoever opens it, and in the check of everything', async () => {
    const session = await used();
    await gateway.archiver?.run();
    const [row] = await gateway.db.query<{ object: string }>('SELECT object FROM segments WHERE session = $1', [session]);
    await s3.remove(`gw/${row?.object}`);
    const opened = await ask(olga, 'GET', `/v1/sessions/${session}/entries`);
    assert.equal(opened.body.error, 'archive-broken');
    assert.match(String(opened.body.sentence), new RegExp(`A part of the record does not hold: .*${session}.* was removed`));
    const { problems } = (await ask(olga, 'POST', '/v1/audit/verify', {})).body as { problems: string[] };
    assert.match(problems.join('\n'), new RegExp(`${session}.* was removed`));
    assert.equal(problems.length, 1, problems.join('\n'));
  });

  it('is tried by `countersign gateway check`, which says what it lacks', async () => {
    const file = join(on.folder, `gateway-${new URL(on.url).port}.yaml`);
    const check = (env: Record<string, string>, ...more: string[]): ReturnType<typeof countersign> =>
      countersign(env, 'gateway', 'check', '--config', file, ...more);
    const good = await check({});
    assert.equal(good.code, 0, good.out);
    assert.match(good.out, new RegExp(`People sign in at corp, which must know the address ${on.url}/login/corp/callback`));
    assert.match(good.out, /Nothing locks what lies in the bucket records.*\n.*could be read back and removed/s);
    const wrong = await check({ S3_SECRET: 'wrong' });
    assert.equal(wrong.code, 1);
    assert.match(wrong.out, /refused \(SignatureDoesNotMatch\): the secret access key is wrong. Check `login`/);
    const asked = s3.asked.length;
    assert.equal((await check({ S3_SECRET: 'wrong' }, '--offline')).code, 0);
    assert.equal(s3.asked.length, asked);
    answers.push(good.out, wrong.out);
  });

  it('says in its check what else the configuration names and is not there', async () => {
    const config = JSON.parse(readFileSync(join(on.folder, `gateway-${new URL(on.url).port}.yaml`), 'utf8')) as { identity: { providers: object[] } };
    const file = join(on.folder, 'wrong.yaml');
    const tls = { certificate: file, key: file };
    config.identity.providers[0] = { ...config.identity.providers[0], issuer: `${on.idp.issuer}/other` };
    writeFileSync(join(on.folder, 'policy.txt'), 'version: 1\nrules: [{ id: a, verdict: perhaps }]\n');
    const notify = [{ id: 'chat', kind: 'slack', url: 'env:CHAT' }];
    writeFileSync(file, JSON.stringify({ ...config, recordings: {}, tls, policy: { file: join(on.folder, 'policy.txt') }, notify }));
    const said: string[] = [];
    const io = { out: () => undefined, error: (line: string) => void said.push(line) };
    assert.equal(await checkPlaces(file, { ...on.env, DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' }, io), 1);
    const expected = [
      /^`notify\.0\.url`: The variable CHAT is not set/,
      /^The TLS certificate or its key cannot be used/,
      /policy\.txt:2:\d+: `verdict` cannot be `perhaps`/,
      /^The database cannot be used: connect ECONNREFUSED/,
      /^corp does not describe itself at .*\/other \(.+\)\. Check `issuer`/,
    ];
    assert.equal(said.length, expected.length, said.join('\n'));
    for (const [i, pattern] of expected.entries()) assert.match(said[i] ?? '', pattern);
  });

  it('removes records whose time is over, and keeps in the audit that they were there', async () => {
    const old = await used();
    await gateway.archiver?.run();
    const kept = await used();
    const objects = await gateway.db.query<{ object: string }>('SELECT object FROM segments WHERE session = $1', [old]);
    assert.ok(objects.length > 0);
    const before = ((await ask(olga, 'POST', '/v1/audit/verify', {})).body.problems as string[]).length;
    const [{ at } = { at: 0 }] = await gateway.db.query<{ at: number }>('SELECT closed_at + 1 AS at FROM sessions WHERE id = $1', [old]);
    const retention = new Retention({
      key: gateway.core.recordKey,
      db: gateway.db,
      stores: new Map([[place.id, place]]),
      log,
      keepDays: 30,
      grew: (chain) => gateway.core.signSoon(chain),
      now: () => at + 30 * 86_400_000,
    });
    // The first of two replicas writes it down; while the bucket is away, the objects wait.
    s3.fault = ({ method }) => (method === 'DELETE' ? { kind: 'cut', when: 'before' } : undefined);
    await Promise.all([retention.run(), retention.run()]);
    s3.fault = () => undefined;
    const opened = await ask(ada, 'GET', `/v1/sessions/${old}/entries`);
    assert.deepEqual([opened.status, opened.body.error], [410, 'record-expired']);
    await retention.run();
    for (const { object } of objects) assert.equal(await place.get(object, undefined, 1_000_000), undefined);
    assert.equal((await ask(ada, 'GET', `/v1/sessions/${kept}/entries`)).status, 200);
    const rows = await gateway.db.query("SELECT 1 FROM audit WHERE line LIKE '%session.expired%' AND line LIKE $1", [`%${old}%`]);
    assert.equal(rows.length, 1, 'said once');
    await signed(gateway.db);
    const { problems } = (await ask(olga, 'POST', '/v1/audit/verify', {})).body as { problems: string[] };
    assert.ok(problems.length <= before && !problems.some((problem) => problem.includes(old)), problems.join('\n'));
    // Whoever only says so in the table is found out.
    await assert.rejects(
      gateway.db.transaction(async (tx) => {
        await tx.query('UPDATE sessions SET expired_at = 1 WHERE id = $1', [kept]);
        assert.match((await verifyStore(tx)).problems.join('\n'), new RegExp(`${kept} is marked as removed`));
        // Its lines may have gone to the bucket by now.
        for (const table of ['entries', 'segments']) await tx.query(`DELETE FROM ${table} WHERE session = $1`, [kept]);
        assert.match((await verifyStore(tx)).problems.join('\n'), new RegExp(`${kept} is not what it was`));
        assert.match((await verifyRecords(tx, gateway.core.recordKey, gateway.lines)).problems.join('\n'), new RegExp(`${kept}.*its file was removed`));
        throw new Error('taken back');
      }),
      /taken back/,
    );
  });

  it('is written out by `countersign gateway export` as files that need no gateway', async () => {
    const target = join(on.folder, 'export');
    const file = join(on.folder, readdirSync(on.folder).find((name) => name.endsWith('.yaml')) ?? '');
    const exported = await countersign({}, 'gateway', 'export', target, '--config', file);
    assert.match(exported.out, /\/export\/\S+ {2}\d+ sessions? of Ada$/);
    assert.equal(exported.code, 0);
    const [person = ''] = readdirSync(target).filter((name) => name.startsWith('per_') && existsSync(join(target, name, 'audit.jsonl')));
    const verified = await countersign({}, 'verify', '--record', join(target, person));
    assert.match(verified.out, /^The record holds: \d+ sessions?, \d+ entries, \d+ lines? of what was done/);
    const everyone = await countersign({}, 'verify', '--record', target);
    assert.match(everyone.out, /^gateway\nThe record holds: \d+ lines? of what was done[^]*\nAll of it holds, and nobody’s is missing\.$/);
    for (const file of ['acts.jsonl', 'audit.jsonl']) {
      const path = join(target, person, file);
      const text = readFileSync(path, 'utf8');
      rmSync(path);
      const without = await countersign({}, 'verify', '--record', target);
      assert.deepEqual([without.code, /removed/.test(without.out)], [1, true], without.out);
      writeFileSync(path, text);
    }
    const elsewhere = join(on.folder, 'elsewhere');
    renameSync(join(target, person), elsewhere);
    assert.match((await countersign({}, 'verify', '--record', target)).out, new RegExp(`${person}: the record of their sessions is missing`));
    renameSync(elsewhere, join(target, person));
    assert.match((await countersign({}, 'sessions', '--record', join(target, person), 'read it again')).out, /Ada/);
    assert.match((await countersign({}, 'gateway', 'export', target, '--config', file)).out, /is not empty/);
  });

  it('goes on under another key that names the one before, and later without that one', async (t) => {
    await used();
    // As when all gateways are stopped for it: the one of before signs nothing any more.
    await signed(gateway.db);
    const start = async (env: Record<string, string>, keys: { key: string; oldKeys: string[] }): Promise<Gateway> =>
      Gateway.start({ config: { ...gateway.config, ...keys, listen: `127.0.0.1:${await freePort()}` }, env: { ...on.env, ...env }, version: '0', log });
    const NEXT = randomBytes(32).toString('hex');
    await assert.rejects(start({ NEXT }, { key: 'env:NEXT', oldKeys: [] }), { code: 'not-opened' });
    const next = await start({ NEXT }, { key: 'env:NEXT', oldKeys: ['env:KEY'] });
    t.after(() => next.stop('the test is over'));
    const problems = async (): Promise<readonly string[]> => (await verifyRecords(next.db, next.core.recordKey, next.lines)).problems;
    assert.deepEqual(await problems(), [], 'what the key before signed');
    const ends = await next.db.query<{ signed: string }>("SELECT signed FROM chains WHERE chain NOT LIKE 'record:%'");
    assert.ok(ends.length > 1 && ends.every((end) => end.signed.includes(next.core.recordKey.fingerprint)), 'the ends of what was done are under the new one');
    const agent = await connect(next, ada.token);
    await agent.do({ effect: 'read' });
    await agent.session.close('done');
    assert.deepEqual(await problems(), [], 'what the new key signed');
    await (await start({ NEXT }, { key: 'env:NEXT', oldKeys: [] })).stop('it started');
  });

  it('says its keys to nobody: not in the log, the record, the metrics or an answer', async () => {
    const record = JSON.stringify(await gateway.db.query('SELECT line FROM entries')) + JSON.stringify(await gateway.db.query('SELECT * FROM segments'));
    const all = [logged.join('\n'), answers.join('\n'), record, await (await fetch(`${on.url}/metrics`)).text()].join('\n');
    assert.ok(all.length > 10_000);
    assert.ok(!all.includes(s3.secretAccessKey));
  });
});

describe('a folder for records', () => {
  it('that is full loses nothing, says so, and is used again when there is room', async (t) => {
    const small = mkdtempSync(join(tmpdir(), 'countersign-small-'));
    const mounted = process.platform === 'linux' && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small]).status === 0;
    t.after(() => {
      if (mounted) spawnSync('umount', [small]);
      rmSync(small, { recursive: true });
    });
    if (!mounted) return t.skip('no file system can be mounted here');
    const root = join(small, 'records');
    const ballast = join(small, 'ballast');
    mkdirSync(root);
    writeFileSync(ballast, Buffer.alloc(56 * 1024));
    const store = folderObjects(root);
    const bytes = Buffer.alloc(20_000, 'x');
    await assert.rejects(store.put('sessions/a.jsonl', bytes, Buffer.alloc(0)), {
      code: 'archive-away',
      message: /the disk is full. Make room. Records stay in the database/,
    });
    const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    assert.deepEqual(files, [], 'half an object is there');
    rmSync(ballast);
    await store.put('sessions/a.jsonl', bytes, Buffer.alloc(0));
    assert.deepEqual(await store.get('sessions/a.jsonl', undefined, 30_000), bytes);
    assert.deepEqual(await store.check(), []);
    return undefined;
  });
});
