/**
 * What `npm run fuzz -- canaries` found, again, and a little of what it looks for: statements that a machine thought of, in
 * worlds that differ in sensitive values alone. To add a finding, write a line in `test/corpus/found.jsonl`.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { corpusLines } from '../corpus/read.ts';
import { withoutHashes } from '../faults/canaries.ts';
import { describe as describeMessages, row } from '../proxy/protocols/postgres/proxied.ts';
import { examine } from './canaries/examine.ts';
import { type Hunted, hunt } from './canaries/hunt.ts';
import { openWorlds, type Protocol, type Step, type Worlds } from './canaries/worlds.ts';

interface Line {
  /** SQL in the simple protocol, or another protocol and the SQL. */
  readonly steps?: readonly (string | readonly [Protocol, string])[];
}

const lines = corpusLines<Line>('found.jsonl').flatMap(({ steps }) =>
  steps ? [steps.map((step): Step => (typeof step === 'string' ? { sql: step, protocol: 'simple' } : { protocol: step[0], sql: step[1] }))] : [],
);
/** The same statements every time. */
const SEED = 1;
const CHAINS = 40;
const CALLS = 60;

describe('statements that a machine thought of', { timeout: 240_000 }, () => {
  let worlds: Worlds;
  before(async () => {
    worlds = await openWorlds();
  });
  after(() => worlds?.stop());

  it('give no value away that was given away before', async () => {
    const found: string[] = [];
    for (const steps of lines) {
      const finding = await examine(worlds, steps);
      if (finding) found.push(`${steps.map(({ sql }) => sql).join('; ')}: ${finding.seen}`);
      if (steps.length > 1) await worlds.tidy();
    }
    assert.deepEqual(found, []);
  });

  it("are answered as they are where nothing sensitive is in them, by aggregates of one's own, too", async () => {
    const [answer] = await worlds.careful[0].run([{ sql: 'select gathered(p.name) from people p where p.id = 1', protocol: 'simple' }]);
    assert.deepEqual(answer?.messages.filter(({ type }) => type === 'D').map(row), [['Name 1']]);
  });

  it('hold tokens of each world, and tokens that are none, and reach roles of their own', async () => {
    const said = async (visitor: Worlds['open'], sql: string): Promise<string> => {
      const [answer] = await visitor.run([{ sql, protocol: 'simple' }]);
      return describeMessages(answer?.messages ?? []);
    };
    for (const kind of ['token', 'ascii'])
      assert.equal(await said(worlds.careful[1], `select id from people where email = '§${kind}:email:2§'`), 'T D C:SELECT 1 Z:I');
    for (const kind of ['renumbered', 'rechecked', 'foreign'])
      assert.equal(await said(worlds.careful[1], `select id from people where email = '§${kind}:email:3§'`), 'E:42501 Z:I', kind);
    assert.equal(await said(worlds.open, `select id from people where code = '§token:code:1§'`), 'T D C:SELECT 1 Z:I');
    assert.equal(await said(worlds.minted, 'select id, word, email, code, doc from people'), 'T D D D C:SELECT 3 Z:I');
    assert.equal(await said(worlds.minted, 'select word from public.people'), 'E:42501 Z:I');
  });

  it('would be found if they did', async () => {
    const { canaries, careful, direct } = worlds;
    const open = {
      run: async ([step]: readonly Step[]) => [
        { bytes: Buffer.from(JSON.stringify((await direct[0]?.query(step?.sql ?? ''))?.rows)), messages: [], ended: false },
      ],
    };
    const bare = { ...worlds, canaries, careful, open } as unknown as Worlds;
    for (const value of [
      'reverse(word)',
      "encode(raw, 'hex')",
      'string_to_array(word, null)',
      'array_agg(ascii(c)) from people, string_to_table(word, null) c group by id --',
      'md5(word)',
      'num',
      'substr(email, 2, 7)',
    ])
      assert.equal((await examine(bare, [{ sql: `select ${value} from people`, protocol: 'simple' }], true))?.kind, 'canary', value);
    const differing = { ...worlds, careful: [worlds.careful[0], worlds.careful[1], worlds.careful[0]] } as unknown as Worlds;
    assert.equal(await examine(differing, [{ sql: 'select length(word) from people', protocol: 'simple' }]), undefined);
  });

  it('give nothing away, of some', async () => {
    const found: string[] = [];
    const total: Hunted[] = [];
    for (const more of [{ chains: 0, stride: Math.floor(75_000 / CALLS) }, { chains: CHAINS }]) {
      total.push(await hunt(worlds, { seed: SEED, until: () => false, say: (line) => void found.push(line), ...more }));
    }
    assert.deepEqual(found, []);
    const answered = total.reduce((sum, one) => sum + one.answered, 0);
    assert.ok(answered >= 10, `${answered} statements gave rows`);
  });

  it('are in no record and have broken nothing', async () => {
    assert.deepEqual(worlds.canaries.in(withoutHashes(await worlds.written())), []);
    assert.deepEqual(await worlds.log(), []);
  });
});
