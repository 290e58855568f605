import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type LaptopPolicy, POLICY_DOMAIN, POLICY_KEYS_DOMAIN } from '../../../contract/gateway/policy.ts';
import { Secret } from '../../../contract/secret.ts';
import { loadPolicy } from '../../../proxy/policy/load.ts';
import { OrganisationPolicy } from '../../../proxy/policy/organisation.ts';
import { OrganisationFile } from '../../../proxy/policy/organisationFile.ts';
import { PolicyStore } from '../../../proxy/policy/watch.ts';
import { canonical } from '../../../proxy/recording/canonical.ts';
import { context, facts } from './examples.ts';

const URL = 'https://gateway.example/';
const HOUR = 3_600_000;
const ADA = { issuer: 'https://idp.example', subject: 'ada', groups: ['dev'] };
const log = { info: () => {}, warn: () => {}, error: () => {} };

interface Key {
  readonly kid: string;
  readonly publicKey: string;
  readonly privateKey: KeyObject;
}

function newKey(kid: string): Key {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return { kid, publicKey: publicKey.export({ type: 'spki', format: 'pem' }) as string, privateKey };
}

const rule = (id: string, verdict = 'deny'): string => `version: 1\nrules:\n  - { id: ${id}, match: { effect: delete }, verdict: ${verdict} }\n`;

describe('the organisation’s policy on a laptop', () => {
  let folder: string;
  let now: number;
  const secret = new Secret('of the editor');
  const first = newKey('policy-1');
  const second = newKey('policy-2');
  const stranger = newKey('policy-1');
  const running: { stop(): unknown }[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-org-'));
    now = 1_800_000_000_000;
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  interface Made {
    readonly keys?: readonly Key[];
    readonly by?: Key;
    readonly text?: string;
    readonly issuer?: string;
    readonly validFor?: number;
    readonly person?: typeof ADA;
  }

  /** As a gateway makes it. */
  const handed = (version: number, made: Made = {}): LaptopPolicy => {
    const { keys = [first], text = rule(`v${version}`), issuer = 'https://gateway.example', validFor = HOUR, person = ADA } = made;
    const by = made.by ?? keys[0] ?? first;
    const statement = { v: 1 as const, issuer, version, text, since: now, person, issuedAt: now, expiresAt: now + validFor };
    const keySet = { v: 1 as const, issuer, keys: keys.map(({ kid, publicKey }) => ({ kid, publicKey })), issuedAt: now };
    const signed = (domain: string, value: object, key: KeyObject): string => sign(null, Buffer.from(domain + canonical(value)), key).toString('base64url');
    return {
      keys: { statement: keySet, signatures: keys.map(({ kid, privateKey }) => ({ kid, signature: signed(POLICY_KEYS_DOMAIN, keySet, privateKey) })) },
      policy: { statement, kid: by.kid, signature: signed(POLICY_DOMAIN, statement, by.privateKey) },
    };
  };

  const file = (): string => join(folder, 'organisation-policy.json');
  const start = (): OrganisationPolicy => {
    const policy = new OrganisationPolicy({ file: new OrganisationFile(file(), secret), clock: { now: () => now }, log, changed: () => {} });
    policy.start();
    running.push(policy);
    return policy;
  };
  const signedIn = (basis = 'login-1'): OrganisationPolicy => {
    const policy = start();
    policy.expect({ url: URL, basis });
    return policy;
  };
  const deletes = (policy: OrganisationPolicy): string => {
    const layer = policy.layer();
    const loaded = loadPolicy(layer ? [layer] : []);
    assert.ok(loaded.ok, JSON.stringify(loaded));
    const { decision, rule: by } = loaded.policy.decide(facts({ effect: 'delete', verb: 'DELETE' }), context());
    return `${decision} ${by.id}`;
  };

  it('is nothing where there is no gateway, and denies everything until the one that is signed in to has spoken', () => {
    const policy = start();
    assert.equal(policy.layer(), undefined);
    policy.expect({ url: URL });
    assert.equal(policy.layer(), undefined, 'nobody is signed in');
    policy.expect({ url: URL, basis: 'login-1' });
    assert.equal(deletes(policy), 'deny organisation-policy-waiting');
    assert.match(policy.view()?.problem ?? '', /has not come from the gateway at gateway\.example yet/);
    assert.equal(policy.take({ ...handed(1), policy: null }), undefined);
    assert.equal(policy.layer(), undefined, 'the organisation has none');
  });

  it('takes a version, and refuses an older one, a forged one, another gateway’s, and one whose time is over', () => {
    const policy = signedIn();
    assert.equal(policy.take(handed(5)), undefined);
    assert.equal(deletes(policy), 'deny v5');
    assert.deepEqual([policy.view()?.state, policy.view()?.version], ['in-force', 5]);

    assert.match(policy.take(handed(4)) ?? '', /older than one that was in force/);
    const changed = handed(6);
    changed.policy!.statement.text = rule('open', 'allow');
    assert.match(policy.take(changed) ?? '', /signature does not hold/);
    assert.match(policy.take(handed(6, { keys: [stranger] })) ?? '', /nothing known here vouches for/);
    assert.match(policy.take(handed(6, { keys: [first], by: stranger })) ?? '', /signature does not hold/);
    assert.match(policy.take(handed(6, { keys: [first], by: second })) ?? '', /a key that this gateway does not have/);
    assert.match(policy.take(handed(6, { issuer: 'https://other.example' })) ?? '', /not its own/);
    assert.match(policy.take(handed(6, { validFor: -1 })) ?? '', /its time is over/);
    assert.match(policy.take({ ...handed(6), policy: null }) ?? '', /has no policy, and version 5 was in force/);
    assert.match(policy.take('nonsense') ?? '', /no policy that this version understands/);
    assert.match(policy.take(handed(6, { text: 'version: 1\nrules:\n  - { id: x, match: { efect: write }, verdict: deny }\n' })) ?? '', /cannot be read/);

    assert.equal(deletes(policy), 'deny v5', 'what could not be believed changed nothing');
    assert.match(policy.view()?.problem ?? '', /cannot be read/);
    assert.equal(policy.take(handed(6)), undefined);
    assert.equal(policy.view()?.problem, undefined);
  });

  it('believes new keys that an old one vouches for, and others only after the person has signed in anew', () => {
    const policy = signedIn();
    policy.take(handed(5));
    assert.equal(policy.take(handed(6, { keys: [second, first] })), undefined, 'rotated');
    assert.equal(policy.take(handed(7, { keys: [second] })), undefined, 'the first is forgotten by now');
    assert.match(policy.take(handed(8, { keys: [first] })) ?? '', /vouches/, 'a key that was taken out of use is worth nothing');
    // A gateway that was set up anew: its keys are others, and its versions begin again.
    assert.match(policy.take(handed(1, { keys: [stranger] })) ?? '', /sign out of the gateway and in again/);
    policy.expect({ url: URL });
    policy.expect({ url: URL, basis: 'login-2' });
    assert.equal(policy.take(handed(1, { keys: [stranger] })), undefined);
    assert.equal(deletes(policy), 'deny v1');
  });

  it('does not let an older version in by signing in anew', () => {
    const policy = signedIn();
    policy.take(handed(5));
    policy.expect({ url: URL, basis: 'login-2' });
    assert.match(policy.take(handed(4)) ?? '', /older/);
  });

  it('is in force at a start without the gateway, until its time is over; then everything is denied, with a sentence', () => {
    signedIn().take(handed(5));
    const again = start();
    assert.equal(deletes(again), 'deny v5');
    again.expect({ url: URL });
    assert.equal(deletes(again), 'deny v5', 'signing out takes nothing away');
    again.expect({ url: 'https://other.example/' });
    assert.equal(deletes(again), 'deny v5', 'nor does another address');
    again.expect({ url: URL, basis: 'login-1' });
    now += HOUR + 1;
    assert.equal(deletes(again), 'deny organisation-policy-expired');
    assert.match(again.view()?.problem ?? '', /out of date, so everything is denied here\. Sign in to the gateway/);
    assert.equal(again.take(handed(5)), undefined, 'the same version with a later end');
    assert.equal(deletes(again), 'deny v5');
  });

  it('binds nobody who has left its gateway, once its time is over', () => {
    const policy = signedIn();
    policy.take(handed(5));
    now += HOUR + 1;
    policy.expect(undefined);
    assert.equal(policy.layer(), undefined);
    assert.equal(existsSync(file()), false);
  });

  it('denies everything where its copy was changed, or made by somebody else, until a new one comes', () => {
    signedIn().take(handed(5, { text: rule('kept') }));
    const good = readFileSync(file(), 'utf8');
    for (const bad of [good.replace('kept', 'open'), good.replace(/"seen":5/, '"seen":1'), good.slice(0, -5), '', 'x'.repeat(5 * 1024 * 1024)]) {
      writeFileSync(file(), bad);
      const policy = start();
      assert.equal(deletes(policy), 'deny organisation-policy-spoilt');
      policy.expect({ url: URL, basis: 'login-1' });
      assert.match(policy.view()?.problem ?? '', /changed or is damaged/);
      assert.equal(policy.take(handed(6)), undefined);
      assert.equal(deletes(policy), 'deny v6');
      assert.equal(deletes(start()), 'deny v6');
    }
    // Deleting it is no way out for whoever is signed in.
    rmSync(file());
    assert.equal(deletes(signedIn()), 'deny organisation-policy-waiting');
    const other = new OrganisationFile(file(), new Secret('of somebody else'));
    other.save({ v: 1, url: URL, basis: '', keys: [], seen: 0, policy: null });
    assert.equal(deletes(start()), 'deny organisation-policy-spoilt');
  });

  it('speaks of people as the organisation knows them, whoever the machine takes them for', () => {
    const text = `version: 1
rules:
  - { id: not-for-contractors, match: { effect: delete, group: contractors }, verdict: deny }
  - { id: nor-by-condition, match: { effect: write }, when: '"contractors" in actor.person.groups', verdict: deny }
`;
    const policy = signedIn();
    policy.take(handed(1, { text, person: { ...ADA, groups: ['contractors'] } }));
    assert.equal(deletes(policy), 'deny not-for-contractors');
    const loaded = loadPolicy([policy.layer()!]);
    assert.ok(loaded.ok);
    assert.equal(loaded.policy.decide(facts({ effect: 'write', verb: 'UPDATE' }), context()).rule.id, 'nor-by-condition');
    policy.take(handed(2, { text }));
    assert.match(deletes(policy), /^ask /);
  });

  it('stands above every file: neither the user nor a workspace loosens it, nor what the machine’s own file says', async () => {
    const policy = signedIn();
    policy.take(
      handed(1, {
        text: `version: 1
defaults: { write: deny, detectors: { email: redact } }
connections:
  shared: { protocol: postgres, via: gateway, upstream: postgres://gateway.invalid/shared }
  scratch: { sensitive: { people.ssn: redact }, tokens: off }
rules:
  - { id: two-for-deletes, match: { effect: delete }, verdict: ask, approvers: 'group:dba', min: 2, fresh-login: true, escalate: { after: 1m, to: 'group:leads' } }
`,
      }),
    );
    const write = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const mine = (text: string): string => `${text}connections:
  shared: { protocol: postgres, upstream: postgres://127.0.0.1/shared }
  scratch: { protocol: postgres, upstream: postgres://127.0.0.1/scratch, sensitive: { people.ssn: partial, people.name: hash }, tokens: { people.name: [card] } }
`;
    const loose = `version: 1
defaults: { write: allow, mask: partial, detectors: { email: off } }
rules:
  - { id: no-mass-change, match: { effect: [write, delete] }, verdict: allow }
  - { id: mine, match: { effect: delete }, verdict: allow }
  - { id: i-may, match: { effect: delete }, verdict: ask, approvers: [requester, 'group:dba'], min: 1 }
`;
    const store = new PolicyStore({ organisation: write('org.yaml', loose), user: write('user.yaml', mine(loose)), signed: policy });
    running.push(store);
    await store.start();
    await store.workspace('w', { folders: [{ path: folder, trusted: true }] });
    write('countersign.yaml', loose);
    await store.reload();
    const inForce = store.current();
    assert.deepEqual(store.view().problems, []);
    assert.equal(inForce.decide(facts({ effect: 'write', verb: 'UPDATE' }), context()).decision, 'deny');
    const asked = inForce.decide(facts({ effect: 'delete', verb: 'DELETE' }), context());
    assert.deepEqual([asked.decision, asked.approvers, asked.quorum, asked.freshLogin, asked.rule.id], ['ask', ['group:dba'], 2, true, 'two-for-deletes']);
    assert.match(asked.rule.file ?? '', /the policy of gateway\.example, version 1/);
    const plan = inForce.maskPlan('scratch');
    assert.deepEqual([plan.columns.get('public.people.ssn'), plan.columns.get('public.people.name'), plan.tokens], ['redact', 'hash', 'off']);
    assert.equal(plan.detectors.get('email'), 'redact');
    assert.equal(inForce.connections.get('shared')?.via, 'gateway', 'the name is taken');
    // What only a gateway can do may be asked for in one’s own file as well, once there is one.
    write('user.yaml', "version: 1\nrules:\n  - { id: mine-too, match: { effect: read }, verdict: ask, approvers: 'group:dba', fresh-login: true }\n");
    await store.reload();
    assert.equal(store.current().decide(facts(), context()).freshLogin, true);
    // A new version counts at once.
    policy.take(handed(2, { text: 'version: 1\ndefaults: { read: deny }\n' }));
    await store.signedChanged();
    assert.equal(store.current().decide(facts(), context()).decision, 'deny');
    assert.equal(store.view().organisation?.version, 2);
  });
});
