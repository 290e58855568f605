import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EFFECTS } from '../../../contract/facts.ts';
import { Verdict } from '../../../contract/verdict.ts';
import { loadPolicy } from '../../../proxy/policy/load.ts';
import { context, facts, good, mcpFacts, organisation, sqlFacts, tables, user, warned, workspace, wrong } from './examples.ts';

const rules = (text: string): string => `version: 1\nrules:\n${text.replace(/^/gm, '  ')}`;
const decide = (policy: ReturnType<typeof good>, given: Parameters<typeof facts>[0], where: Parameters<typeof context>[0] = {}) =>
  policy.decide(facts(given), context(where));

describe('without any file', () => {
  const policy = good();

  it('lets reads through, asks about everything else, and names its rules well', () => {
    const verdicts = Object.fromEntries(EFFECTS.map((effect) => [effect, decide(policy, { effect })]));
    assert.deepEqual(
      EFFECTS.map((effect) => `${verdicts[effect]?.decision} ${verdicts[effect]?.rule.id}`),
      [
        'allow reads-allowed',
        'ask sends-ask',
        'ask writes-ask',
        'ask deletes-ask',
        'ask schema-changes-ask',
        'ask executes-ask',
        'ask admin-ask',
        'ask unknown-ask',
      ],
    );
    for (const verdict of Object.values(verdicts)) Verdict.parse(verdict);
  });

  it('denies changing every row, with a sentence', () => {
    for (const [effect, verb] of [
      ['delete', 'DELETE'],
      ['write', 'UPDATE'],
      ['delete', 'TRUNCATE'],
      ['write', 'MERGE'],
    ] as const) {
      const verdict = decide(policy, { effect, verb, bulk: true });
      assert.equal(verdict.decision, 'deny');
      assert.equal(verdict.rule.id, 'no-mass-change');
      assert.match(verdict.say ?? '', /migration/);
    }
  });

  it('denies a mass change that hides inside a statement of another kind', () => {
    assert.equal(decide(policy, { effect: 'delete', verb: 'INSERT', bulk: true }).rule.id, 'no-mass-change');
    assert.equal(decide(policy, { effect: 'write', verb: 'SELECT', bulk: true }).rule.id, 'no-mass-change');
  });

  it('asks before a masked column is used in a condition, unless every use is an equality', () => {
    const of = (equality?: boolean) => decide(policy, { sql: sqlFacts({ predicates: ['customers.ssn'], ...(equality !== undefined && { equality }) }) });
    assert.equal(of().rule.id, 'sensitive-conditions-ask');
    assert.equal(of(false).decision, 'ask');
    assert.equal(of(true).decision, 'allow');
  });

  it('asks before tables are read that hold samples of values, statements or password hashes', () => {
    for (const name of ['pg_stats', 'pg_catalog.pg_stats', 'pg_authid', 'PG_STATISTIC', 'pg_stat_activity', 'pg_catalog.pg_largeobject']) {
      assert.equal(decide(policy, { targets: tables('orders', name) }).rule.id, 'statistics-ask', name);
    }
    // What psql's \d looks at.
    for (const name of ['pg_class', 'pg_catalog.pg_statistic_ext', 'pg_catalog.pg_attribute'])
      assert.equal(decide(policy, { targets: tables(name) }).decision, 'allow', name);
  });

  it('masks whatever the detectors find', () => {
    const plan = policy.maskPlan('anything');
    assert.equal(plan.otherwise, 'redact');
    assert.equal(plan.detectors.get('email'), 'partial');
    assert.equal(plan.detectors.get('us-ssn') ?? plan.otherwise, 'redact');
  });

  it('can be kept per shape', () => assert.equal(policy.cacheable('postgres', 'read'), true));
});

describe('rules', () => {
  it('are deny over ask over allow, whatever their order', () => {
    const policy = good(
      user(
        rules(`- { id: yes, match: { effect: write }, verdict: allow }
- { id: maybe, match: { effect: write, target: orders }, verdict: ask }
- { id: no, match: { effect: write, target: [orders, x], bulk: true }, verdict: deny, say: Not these. }`),
      ),
    );
    assert.equal(decide(policy, { effect: 'write', targets: tables('items') }).rule.id, 'yes');
    assert.equal(decide(policy, { effect: 'write' }).rule.id, 'maybe');
    const denied = decide(policy, { effect: 'write', bulk: true, verb: 'UPDATE' });
    assert.deepEqual([denied.rule.id, denied.say, denied.rule.file, denied.rule.line], ['no', 'Not these.', 'user.yaml', 5]);
    assert.match(denied.because, /effect is write.*bulk is true.*target is orders/);
  });

  it('let through only what is allowed of all targets, and stop what is stopped of any', () => {
    const policy = good(
      user(
        rules(`- { id: ok, match: { effect: write, target: [orders, 'items*'] }, verdict: allow }\n- { id: no, match: { target: secrets }, verdict: deny }`),
      ),
    );
    assert.equal(decide(policy, { effect: 'write', targets: tables('orders', 'items_2') }).decision, 'allow');
    assert.equal(decide(policy, { effect: 'write', targets: tables('orders', 'customers') }).decision, 'ask');
    assert.equal(decide(policy, { effect: 'write', targets: [] }).decision, 'ask');
    assert.equal(decide(policy, { targets: tables('orders', 'SECRETS') }).decision, 'deny');
    assert.equal(decide(policy, { effect: 'write', targets: tables('Orders') }).decision, 'ask');
  });

  it('do not let a wildcard that allows reach into another schema', () => {
    const policy = good(user(rules(`- { id: ok, match: { effect: write, target: ['o*', 'public.t_*', 'billing.*'] }, verdict: allow }`)));
    for (const name of ['orders', 't_1', 'billing.invoices']) assert.equal(decide(policy, { effect: 'write', targets: tables(name) }).decision, 'allow', name);
    for (const name of ['other.secrets', 'billing.x.y', 'x.t_1'])
      assert.equal(decide(policy, { effect: 'write', targets: tables(name) }).decision, 'ask', name);
  });

  it('take a list that may have been cut short for one that cannot be allowed', () => {
    const policy = good(user(rules(`- { id: ok, match: { effect: write, target: 't*' }, verdict: allow }`)));
    const many = (n: number) => tables(...Array.from({ length: n }, (_, i) => `t${i}`));
    assert.equal(decide(policy, { effect: 'write', targets: many(499) }).decision, 'allow');
    assert.equal(decide(policy, { effect: 'write', targets: many(500) }).decision, 'ask');
  });

  it('match who, where and through what', () => {
    const policy = good(
      user(
        rules(`- { id: person, match: { effect: write, person: Ada }, verdict: deny }
- { id: group, match: { effect: delete, group: dev, connection: 'sh*' }, verdict: deny }
- { id: agent, match: { effect: schema, agent: 'claude*', surface: terminal, protocol: postgres }, verdict: deny }`),
      ),
    );
    for (const effect of ['write', 'delete', 'schema'] as const) assert.equal(decide(policy, { effect }).decision, 'deny');
    assert.equal(decide(policy, { effect: 'delete' }, { connection: 'other' }).decision, 'ask');
  });

  it('do not allow by a display name, or by what an agent says of itself', () => {
    const byName = good(user(rules(`- { id: a, match: { effect: write, person: Ada }, verdict: allow }`)));
    assert.equal(decide(byName, { effect: 'write' }).decision, 'ask');
    const bySubject = good(user(rules(`- { id: a, match: { effect: write, person: ada }, verdict: allow }`)));
    assert.equal(decide(bySubject, { effect: 'write' }).decision, 'allow');
    assert.match(wrong(user(rules(`- { id: a, match: { agent: cursor }, verdict: allow }`)))[0] ?? '', /^3:\d+ `agent` is what the client says of itself/);
    assert.match(
      wrong(user(rules(`- { id: a, when: 'actor.agent.kind == "cursor"', verdict: allow }`)))[0] ?? '',
      /`actor.agent` is what the client says of itself/,
    );
  });

  it('match arguments of tools: anywhere to stop, the whole value to allow', () => {
    const policy = good(
      user(
        rules(`- { id: ok, match: { effect: write, mcp: { tool: write_file, args: { path: '/tmp/[a-z]+' } } }, verdict: allow }
- { id: no, match: { mcp: { args: { '*': 'passwd' } } }, verdict: deny }`),
      ),
    );
    const call = (args: Record<string, unknown>) =>
      decide(policy, { effect: 'write', verb: 'tools/call', mcp: mcpFacts({ tool: 'write_file', args }) }, { protocol: 'mcp' }).decision;
    assert.equal(call({ path: '/tmp/abc' }), 'allow');
    assert.equal(call({ path: '/tmp/abc/../../etc' }), 'ask');
    assert.equal(call({ path: ['/tmp/abc', '/root'] }), 'ask');
    assert.equal(call({ path: [] }), 'ask');
    assert.equal(call({}), 'ask');
    assert.equal(call({ path: '/tmp/abc', deep: { list: [1, { x: '/etc/passwd' }] } }), 'deny');
    assert.equal(call({ path: 'a'.repeat(100_000) }), 'deny');
    assert.equal(policy.cacheable('mcp', 'execute'), false);
  });

  it('match an argument by any spelling of its name to stop, by the one alone to allow: there are servers that do not look at the case', () => {
    const policy = good(
      user(
        rules(`- { id: ok, match: { effect: write, mcp: { args: { disk: '/tmp/[a-z]+' } } }, verdict: allow }
- { id: no, match: { mcp: { args: { disk: '^/etc' } } }, verdict: deny }`),
      ),
    );
    const call = (args: Record<string, unknown>) =>
      decide(policy, { effect: 'write', verb: 'tools/call', mcp: mcpFacts({ tool: 'x', args }) }, { protocol: 'mcp' }).decision;
    assert.equal(call({ disk: '/tmp/abc' }), 'allow');
    for (const name of ['Disk', 'DISK', 'di\u017fk', 'dis\u212a']) {
      assert.equal(call({ [name]: '/etc/passwd' }), 'deny', name);
      assert.equal(call({ [name]: '/tmp/abc' }), 'ask', name);
      assert.equal(call({ disk: '/tmp/abc', [name]: '/etc/passwd' }), 'deny', name);
      assert.equal(call({ disk: '/tmp/abc', [name]: '/root' }), 'ask', name);
    }
  });

  it('combine the terms of all that ask', () => {
    const policy = good(
      user(
        rules(`- { id: a, match: { effect: write }, verdict: ask, approvers: [requester, 'group:dba'], expires: 10m, preview: dry-run }
- { id: b, match: { target: orders }, verdict: ask, approvers: 'group:dba', expires: 2m }
- { id: c, match: { target: x }, verdict: ask, approvers: 'user:bob' }`),
      ),
    );
    const both = decide(policy, { effect: 'write' });
    assert.deepEqual([both.rule.id, both.approvers, both.expiresMs, both.preview, both.quorum], ['a', ['group:dba'], 120_000, 'dry-run', 1]);
    assert.match(both.because, /b too/);
    const none = decide(policy, { effect: 'write', targets: tables('x', 'orders') });
    assert.equal(none.decision, 'deny');
    assert.match(none.say ?? '', /Nobody can approve/);
  });

  it('refuse what nothing here would enforce', () => {
    assert.match(wrong(user(rules(`- { id: a, match: { bulk: true }, verdict: ask, fresh-login: true }`)))[0] ?? '', /needs the shared gateway/);
    assert.match(wrong(user(rules(`- { id: a, match: { bulk: true }, verdict: ask, min: 2 }`)))[0] ?? '', /needs the shared gateway/);
    assert.match(wrong(user(rules(`- { id: a, match: { bulk: true }, verdict: deny, expires: 5m }`)))[0] ?? '', /about asking/);
  });

  it('replace a built-in rule by its id, in the highest file only', () => {
    const text = rules(`- { id: no-mass-change, match: { effect: delete, bulk: true, connection: shop }, verdict: ask }`);
    const mass = { effect: 'delete', verb: 'DELETE', bulk: true } as const;
    assert.equal(decide(good(user(text)), mass).decision, 'ask');
    assert.equal(decide(good(organisation('version: 1'), user(text)), mass).decision, 'deny');
    assert.match(warned(organisation('version: 1'), user(text))[0] ?? '', /stands beside it/);
  });

  it('do not undo a built-in guard by allowing the effect', () => {
    const policy = good(user('version: 1\ndefaults: { delete: allow }\n'));
    assert.equal(decide(policy, { effect: 'delete', verb: 'DELETE' }).decision, 'allow');
    assert.equal(decide(policy, { effect: 'delete', verb: 'DELETE', bulk: true }).decision, 'deny');
  });
});

describe('layers', () => {
  const strict = organisation('version: 1\ndefaults: { read: ask }\nrules:\n  - { id: no-ddl, match: { effect: schema }, verdict: deny }\n');

  it('below the highest can only tighten', () => {
    const below = rules(`- { id: ddl, match: { effect: schema }, verdict: allow }\n- { id: reads, match: { effect: read }, verdict: allow }`);
    for (const layer of [user(below), workspace(below)]) {
      const policy = good(strict, layer);
      assert.equal(decide(policy, { effect: 'schema' }).decision, 'deny');
      assert.equal(decide(policy, {}).decision, 'ask');
      assert.equal(warned(strict, layer).length, 2);
    }
  });

  it('of a workspace cannot loosen the built-in policy either', () => {
    const policy = good(workspace('version: 1\ndefaults: { write: allow }\nrules:\n  - { id: w, match: { effect: delete }, verdict: allow }\n'));
    assert.equal(decide(policy, { effect: 'write' }).decision, 'ask');
    assert.equal(decide(policy, { effect: 'delete' }).decision, 'ask');
  });

  it('below may ask, and narrow who answers, for how long', () => {
    const policy = good(
      user(rules(`- { id: u, match: { effect: write }, verdict: ask, expires: 5m }`)),
      workspace(rules(`- { id: w, match: { effect: write }, verdict: ask, expires: 1h }`)),
    );
    assert.equal(decide(policy, { effect: 'write' }).expiresMs, 300_000);
    const other = good(workspace(rules(`- { id: w, match: { effect: write }, verdict: ask, approvers: 'user:mallory' }`)));
    assert.equal(decide(other, { effect: 'write' }).decision, 'deny');
  });

  it('below cannot have statements dry-run before anyone has approved', () => {
    const text = rules(`- { id: w, match: { effect: write }, verdict: ask, preview: dry-run }`);
    assert.equal(decide(good(user(text)), { effect: 'write' }).preview, 'dry-run');
    assert.equal(decide(good(workspace(text)), { effect: 'write' }).preview, 'none');
    assert.match(warned(workspace(text))[0] ?? '', /dry run executes/);
    const refused = good(user(text), workspace(rules(`- { id: n, match: { effect: write }, verdict: ask, preview: none }`)));
    assert.equal(decide(refused, { effect: 'write' }).preview, 'none');
  });

  it('below make masks stricter, never weaker', () => {
    const shop =
      'version: 1\ndefaults: { detectors: { phone: redact } }\nconnections: { shop: { protocol: postgres, upstream: "postgres://localhost/shop", sensitive: { customers.ssn: redact, customers.email: partial } } }\n';
    const below =
      'version: 1\ndefaults: { detectors: { phone: off, email: redact } }\nconnections: { shop: { sensitive: { public.customers.ssn: partial, customers.email: redact, orders.note: hash } } }\n';
    for (const trusted of [true, false]) {
      const plan = good(user(shop), workspace(below, trusted)).maskPlan('shop');
      assert.deepEqual(Object.fromEntries(plan.columns), {
        'public.customers.ssn': 'redact',
        'public.customers.email': 'redact',
        'public.orders.note': 'hash',
      });
      assert.equal(plan.detectors.get('phone'), 'redact');
      assert.equal(plan.detectors.get('email'), 'redact');
      assert.equal(warned(user(shop), workspace(below, trusted)).length, 2);
    }
  });

  it('below cannot send a connection elsewhere', () => {
    const shop = user('version: 1\nconnections: { shop: { protocol: postgres, upstream: "postgres://db/shop" } }\n');
    const evil = 'version: 1\nconnections: { shop: { protocol: postgres, upstream: "postgres://evil/shop", sensitive: { a.b: redact } } }\n';
    assert.match(wrong(shop, workspace(evil))[0] ?? '', /defined by a higher layer \(user\.yaml:2\)/);
    const policy = good(shop, workspace(evil, false));
    const connection = policy.connections.get('shop');
    assert.equal(connection?.protocol === 'postgres' && connection.upstream.host, 'db');
    assert.equal(policy.maskPlan('shop').columns.get('public.a.b'), 'redact');
  });

  it('below can take the sharing of a process away, and not begin it', () => {
    const share = (layer: string): string => `version: 1\nconnections: { index: { protocol: mcp, upstream: { command: [index] }${layer} } }\n`;
    const shared = (...layers: Parameters<typeof good>): unknown => {
      const connection = good(...layers).connections.get('index');
      return connection?.protocol === 'mcp' && connection.share;
    };
    const said = (value: string): string => `version: 1\nconnections: { index: { share: ${value} } }\n`;
    assert.equal(shared(user(share(', share: person'))), 'person');
    assert.equal(shared(user(share(', share: person')), workspace(said('session'))), 'session');
    assert.equal(shared(user(share('')), workspace(said('person'))), undefined);
    assert.match(warned(user(share('')), workspace(said('person')))[0] ?? '', /can only tighten `index`/);
    assert.match(
      wrong(user(share('').replace('command: [index]', 'url: https://a.example/mcp').replace(' } } }', ' }, share: person } }')))[0] ?? '',
      /Remove `share`/,
    );
  });

  it('of an untrusted workspace define no connection', () => {
    const text = 'version: 1\nconnections: { x: { protocol: mcp, upstream: { command: [sh, -c, "touch pwned"] } } }\n';
    assert.equal(good(workspace(text, false)).connections.size, 0);
    assert.equal(good({ layer: 'workspace', file: 'w', text }).connections.size, 0);
    assert.equal(good(workspace(text, true)).connections.size, 1);
  });

  it('of an untrusted workspace cannot slow down every decision', () => {
    const loops = rules(Array.from({ length: 60 }, (_, i) => `- { id: r${i}, when: 'conversation.read.exists(t, t.sensitive)', verdict: ask }`).join('\n'));
    const nested = rules(`- { id: r, when: 'conversation.read.exists(a, conversation.read.exists(b, a.target == b.target))', verdict: ask }`);
    const searches = rules(Array.from({ length: 60 }, (_, i) => `- { id: r${i}, match: { mcp: { args: { '*': 'a+b' } } }, verdict: ask }`).join('\n'));
    for (const text of [loops, nested, searches]) {
      assert.match(wrong(workspace(text, false))[0] ?? '', /not trusted.*loop and search too much/);
      assert.deepEqual(wrong(workspace(text, true)), []);
    }
  });

  it('change the version with any change of any of them', () => {
    const versions = [good(), good(user('version: 1')), good(user('version: 1 ')), good(workspace('version: 1')), good(workspace('version: 1', false))].map(
      (policy) => policy.version,
    );
    assert.equal(new Set(versions).size, versions.length);
  });
});

describe('errors', () => {
  it('name line and column, and say what to write instead', () => {
    const cases: [string, RegExp][] = [
      ['', /^1:1 This policy file is empty. Begin it with `version: 1`/],
      ['defaults: {}', /^1:1 `version` is missing. Begin the file with `version: 1`/],
      ['version: 2', /^1:10 This proxy reads version 1/],
      ['version: 1\nruels: []', /^2:1 `ruels` is not known here. Did you mean `rules`/],
      ['version: 1\nversion: 1', /^2:1 This key stands here twice/],
      ['version: 1\n---\nversion: 1', /several YAML documents/],
      ['version: 1\na: &x {}\nb: *x', /Aliases .* Write the value out/],
      ['version: 1\nrules: !!js/function x', /Tags/],
      ['version: 1\ndefaults: !!binary aGk=', /Tags/],
      ['version: 1\n<<: {}', /Merge keys/],
      ['version: 1\n__proto__: {}', /`__proto__` cannot be a key/],
      ['version: 1\nrules:\n\t- a', /tab/],
      [`version: 1\nrules: ${'['.repeat(2_000)}`, /nested too deeply|not valid YAML/],
      [`version: 1\n#${'x'.repeat(300_000)}`, /longer than 256 KiB/],
      [rules('- { id: a, match: { effect: update }, verdict: ask }'), /^3:31 `effect` cannot be `update`. Here, say `write` for effect or `verb: UPDATE`/],
      [rules('- { id: a, match: { effect: [write, selct] }, verdict: ask }'), /`selct`/],
      [rules('- { id: a, effect: write, verdict: ask }'), /^3:14 `effect` is not known here.*under `match:`/],
      [rules('- { id: a, match: { bulk: true }, verdict: block }'), /say `deny`/],
      [rules('- { id: a, match: { bulk: true } }'), /`verdict` is missing. Write one of allow, ask, deny/],
      [rules('- { match: { bulk: true }, verdict: ask }'), /^3:5 `id` is missing/],
      [rules('- { id: A b, match: { bulk: true }, verdict: ask }'), /lower-case words/],
      [rules('- { id: a, verdict: ask }'), /matches everything/],
      [rules('- { id: a, match: {}, verdict: ask }'), /matches everything/],
      [rules('- { id: a, match: { bulk: true }, verdict: ask }\n- { id: a, match: { bulk: true }, verdict: ask }'), /^4:11 A rule on line 3 is called `a` too/],
      [rules('- { id: writes-ask, match: { bulk: true }, verdict: ask }'), /what a default calls itself/],
      [rules('- { id: a, match: { bulk: true }, verdict: ask, expires: 10 }'), /`30s`, `10m` or `1h`/],
      [rules('- { id: a, match: { bulk: true }, verdict: ask, approvers: dba }'), /`group:NAME`/],
      [rules('- { id: a, match: { mcp: { args: { p: "(?=x)" } } }, verdict: ask }'), /bounded time/],
      [rules('- { id: a, match: { mcp: { args: { p: "(" } } }, verdict: ask }'), /not a regular expression/],
      [rules('- just words'), /^3:5 Each of `rules` must be a mapping/],
      ['version: 1\nrules: {}', /^2:8 `rules` must be a list. Begin each rule with `- id:`/],
      ['version: 1\ndefaults: { detectors: { ssn: redact } }', /^2:26 `ssn` is not known here/],
      ['version: 1\ndefaults: { detectors: { email: none } }', /`email` cannot be `none`/],
    ];
    for (const [text, expected] of cases) assert.match(wrong(user(text)).join('\n'), expected, text.slice(0, 100));
  });

  it('show all at once, each at its own place', () => {
    const found = wrong(
      user('version: 1\ndefaults: { wirte: ask }\nconnections:\n  x: { protocol: mysql }\nrules:\n  - { id: a, match: { efect: write }, verdict: ask }\n'),
    );
    assert.deepEqual(
      found.map((line) => line.split(' ')[0]),
      ['2:13', '6:23', '4:18'],
    );
  });

  it('name the file that is wrong', () => {
    const result = loadPolicy([organisation('version: 1'), user('version: 3')]);
    assert.equal(!result.ok && result.problems[0]?.file, 'user.yaml');
  });
});

describe('explaining', () => {
  it('lists every rule with whether it matched and why', () => {
    const policy = good(
      user(
        rules(
          `- { id: a, match: { effect: write, target: customers }, verdict: deny }\n- { id: b, when: 'mcp.args.x == "1"', verdict: ask }\n- { id: c, match: { effect: write }, when: op.bulk, verdict: ask }`,
        ),
      ),
    );
    const { verdict, rules: listed } = policy.explain(facts({ effect: 'write' }), context());
    assert.equal(verdict.rule.id, 'writes-ask');
    const why = Object.fromEntries(listed.map((rule) => [rule.ref.id, `${rule.matched}: ${rule.why}`]));
    assert.equal(why.a, 'no: target is orders, not customers');
    assert.equal(why.b, 'no: its condition speaks of mcp, which this operation has not');
    assert.equal(why.c, 'no: op.bulk does not hold');
    assert.match(why['writes-ask'] ?? '', /^yes/);
    assert.ok('no-mass-change' in why);
  });
});
