/** The organisation's policy: every version kept, with who wrote it and why; the newest in force in every replica within moments. */
import { createHash, type KeyObject, sign } from 'node:crypto';
import { createPatch } from 'diff';
import { z } from 'zod';
import { Person } from '../../contract/actor.ts';
import {
  type LaptopPolicy,
  MAX_POLICY_TEXT,
  POLICY_DOMAIN,
  POLICY_KEYS_DOMAIN,
  type PolicyCheck,
  type PolicyKeys,
  type PolicyStatement,
  type PolicyVersion,
  type PolicyVersionDetail,
  type PutPolicy,
  type SharedConnection,
  type SignedPolicy,
  type SignedPolicyKeys,
} from '../../contract/gateway/policy.ts';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { type LoadedPolicy, type LoadResult, loadPolicy } from '../../proxy/policy/load.ts';
import { readPolicyFile } from '../../proxy/policy/policyFile.ts';
import { canonical } from '../../proxy/recording/canonical.ts';
import type { GatewayConfig } from '../config/load.ts';
import type { KeyRing } from '../identity/keys.ts';
import { GATEWAY_CHAIN } from '../recording/chainRows.ts';
import type { Acts } from '../recording/chains.ts';
import { type Bus, tell } from '../store/bus.ts';
import { type Database, json, one, type Queryable, retried } from '../store/database.ts';
import { laptopText } from './laptopText.ts';

/** What the organisation's policy is called where a person reads of it. */
const CENTRAL_FILE = 'the gateway’s policy';
const HISTORY_PAGE = 50;
/** How often the file that the configuration names is looked at, in milliseconds. */
const FILE_EVERY_MS = 1_000;
/** Any number, the same in every gateway: whoever holds this lock writes a version. */
const LOCK = 4_242_017_733;
/** A policy that could not be read or compiled: nothing is let through. */
const NOTHING = JSON.stringify({
  version: 1,
  rules: [{ id: 'policy-not-read', when: 'true', verdict: 'deny', say: 'The gateway has not read its policy. Try again in a moment.' }],
});

/** Texts that are kept, one for each set of connections that somebody may use. */
const MAX_CUTS = 500;

/** Whom a policy is for, and the shared connections that they may use; absent: all. */
export interface PolicyReader {
  readonly person: Person;
  readonly connections?: readonly string[] | undefined;
}

interface Row {
  readonly version: number;
  readonly text: string;
  readonly digest: string;
  readonly author: unknown;
  readonly comment: string;
  readonly source: 'api' | 'file';
  readonly created_at: number;
}

export interface CentralPolicyOptions {
  readonly db: Database;
  readonly acts: Acts;
  readonly bus: Bus;
  readonly keys: KeyRing;
  readonly config: GatewayConfig;
  readonly log: Log;
  /** Another policy is in force, and was compiled. */
  readonly changed: (policy: LoadedPolicy) => void;
}

export class CentralPolicy {
  readonly #options: CentralPolicyOptions;
  #policy: LoadedPolicy = compiled(NOTHING);
  #version = 0;
  #text = '';
  /** When that version was put in force. */
  #since = 0;
  /** Connections that someone may use → the text for them. */
  #cut = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #loading: Promise<void> = Promise.resolve();
  #fileProblem: string | undefined;
  #stopped = false;

  constructor(options: CentralPolicyOptions) {
    this.#options = options;
    options.bus.on('policy', () => void this.load().catch((cause: unknown) => options.log.warn('policy.not-read', { cause })));
  }

  async start(): Promise<void> {
    await this.load();
    if (this.#options.config.policy.file === undefined) return;
    await this.#readFile();
    this.#timer = setInterval(() => void this.#readFile(), FILE_EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  current(): LoadedPolicy {
    return this.#policy;
  }

  /** 0: none was written yet; the built-in rules hold, and nothing is connected. */
  get version(): number {
    return this.#version;
  }

  /** Set where the file that the configuration names cannot be used. */
  get fileProblem(): string | undefined {
    return this.#fileProblem;
  }

  /** Reads the newest version. */
  load(): Promise<void> {
    const done = this.#loading.then(() => this.#load());
    this.#loading = done.catch(() => undefined);
    return done;
  }

  async #load(): Promise<void> {
    const row = await one<Row>(this.#options.db, 'SELECT * FROM policies ORDER BY version DESC LIMIT 1');
    const before = this.#policy.version;
    if (!row) this.#policy = compiledLayers([]);
    else if (row.version > this.#version) {
      this.#policy = compiled(row.text);
      this.#version = row.version;
      this.#text = row.text;
      this.#since = row.created_at;
      this.#cut = new Map();
    }
    if (this.#policy.version === before) return;
    this.#options.log.info('policy.in-force', { version: this.#version, connections: this.#policy.connections.size });
    this.#options.changed(this.#policy);
  }

  check(text: string): PolicyCheck {
    const result = load(text);
    return result.ok
      ? { ok: true, problems: [], warnings: [...result.warnings] }
      : { ok: false, problems: [...result.problems], warnings: [...result.warnings] };
  }

  /** A text compiled, without putting it in force. @throws `Problem` `policy-broken` */
  draft(text: string): LoadedPolicy {
    const result = load(text);
    if (result.ok) return result.policy;
    const [problem] = result.problems;
    throw new Problem('policy-broken', `This draft is no policy yet: line ${problem?.line ?? 1}: ${problem?.message ?? ''}`);
  }

  /** Puts a text in force everywhere. @throws `Problem` `policy-broken`, `conflict` */
  async put({ text, comment, over }: PutPolicy, author: Person, source: 'api' | 'file' = 'api'): Promise<PolicyVersion> {
    const result = load(text);
    const [problem] = result.ok ? [] : result.problems;
    if (problem) throw new Problem('policy-broken', `This policy cannot be put in force: line ${problem.line}: ${problem.message}`);
    const { db } = this.#options;
    const row = await retried(db, async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(${LOCK})`);
      const newest = await one<Row>(tx, 'SELECT * FROM policies ORDER BY version DESC LIMIT 1');
      if (source === 'api' && (newest?.version ?? 0) !== over) {
        throw new Problem(
          'conflict',
          `Version ${newest?.version ?? 0} is in force, and this was written over ${over}. Look at what changed, then put it again.`,
        );
      }
      if (newest?.text === text) return newest;
      const written = await write(tx, { text, comment, author, source });
      await this.#options.acts.append(tx, GATEWAY_CHAIN, {
        type: 'policy.put',
        version: written.version,
        digest: written.digest,
        by: { ...author },
        source,
        comment,
      });
      await tell(tx, 'policy', String(written.version));
      return written;
    });
    await this.load();
    return viewOf(row);
  }

  async history(before: number | undefined): Promise<{ versions: PolicyVersion[]; more: boolean }> {
    const rows = await this.#options.db.query<Row>('SELECT * FROM policies WHERE version < $1 ORDER BY version DESC LIMIT $2', [
      before ?? Number.MAX_SAFE_INTEGER,
      HISTORY_PAGE + 1,
    ]);
    return { versions: rows.slice(0, HISTORY_PAGE).map(viewOf), more: rows.length > HISTORY_PAGE };
  }

  /** @throws `Problem` `not-found` */
  async detail(version: number): Promise<PolicyVersionDetail> {
    const rows = await this.#options.db.query<Row>('SELECT * FROM policies WHERE version <= $1 ORDER BY version DESC LIMIT 2', [version]);
    const [row, before] = rows;
    if (!row || row.version !== version) throw new Problem('not-found', 'There is no such version.');
    const diff = createPatch('countersign.yaml', before?.text ?? '', row.text, before ? `version ${before.version}` : 'none', `version ${row.version}`);
    return { ...viewOf(row), text: row.text, diff };
  }

  /** What is in force, cut to what a laptop of theirs needs, and signed. @throws `Problem` `not-found` where there is none */
  signed({ person, connections }: PolicyReader, now = Date.now()): SignedPolicy {
    if (this.#version === 0) throw new Problem('not-found', 'The organisation has no policy yet.');
    const { config, keys } = this.#options;
    const statement: PolicyStatement = {
      v: 1,
      issuer: config.publicUrl,
      version: this.#version,
      text: this.#laptopText(connections),
      since: this.#since,
      person,
      issuedAt: now,
      expiresAt: now + config.policy.validFor * 1000,
    };
    const { kid, key } = keys.signing('policy');
    return { statement, kid, signature: signed(POLICY_DOMAIN, statement, key) };
  }

  forLaptop(reader: PolicyReader, now = Date.now()): LaptopPolicy {
    return { keys: this.#vouchedKeys(now), policy: this.#version === 0 ? null : this.signed(reader, now) };
  }

  /** Another one when `forLaptop` gives them something else. */
  tag({ person, connections }: PolicyReader): string {
    const kids = this.#options.keys.vouching('policy').map(({ kid }) => kid);
    return digestOf(JSON.stringify([this.#version, person, connections, kids]));
  }

  #laptopText(connections: readonly string[] | undefined): string {
    const key = connections === undefined ? '' : JSON.stringify([...connections].sort());
    let text = this.#cut.get(key);
    if (text === undefined) {
      text = laptopText(this.#text, connections);
      if (this.#cut.size < MAX_CUTS) this.#cut.set(key, text);
    }
    return text;
  }

  #vouchedKeys(now: number): SignedPolicyKeys {
    const { config, keys } = this.#options;
    const statement = { v: 1 as const, issuer: config.publicUrl, keys: this.keys().keys, issuedAt: now };
    return { statement, signatures: keys.vouching('policy').map(({ kid, key }) => ({ kid, signature: signed(POLICY_KEYS_DOMAIN, statement, key) })) };
  }

  keys(): PolicyKeys {
    return {
      keys: [...this.#options.keys.verifying('policy')].map(([kid, key]) => ({ kid, publicKey: key.export({ type: 'spki', format: 'pem' }) as string })),
    };
  }

  /** The connections that go through the gateway, as their users see them. */
  connections(only?: readonly string[]): SharedConnection[] {
    return [...this.#policy.connections.values()]
      .filter(({ name, via }) => via === 'gateway' && (only === undefined || only.includes(name)))
      .map((connection) => ({
        name: connection.name,
        protocol: connection.protocol,
        sensitive: Object.fromEntries(connection.sensitive),
        ...(connection.protocol === 'postgres' && { database: connection.upstream.database }),
      }));
  }

  /** A file that was changed is put in force, once, whichever replica sees it first; a broken one leaves things as they are. */
  async #readFile(): Promise<void> {
    const { config, db, log } = this.#options;
    const { file } = config.policy;
    if (file === undefined || this.#stopped) return;
    try {
      const read = await readPolicyFile(file);
      if (read.state !== 'read') return this.#fileFailed(read.state === 'failed' ? read.why : 'It is not there.');
      const digest = digestOf(read.text);
      // The last one that came from a file: what was put over it by the API since stands until the file changes again.
      const last = await one<{ digest: string }>(db, "SELECT digest FROM policies WHERE source = 'file' ORDER BY version DESC LIMIT 1");
      if (last?.digest === digest) return this.#fileFailed(undefined);
      const checked = this.check(read.text);
      if (!checked.ok) return this.#fileFailed(`line ${checked.problems[0]?.line}: ${checked.problems[0]?.message}`);
      await this.put({ text: read.text, comment: `read from ${file}`, over: 0 }, { issuer: config.publicUrl, subject: 'file', groups: [] }, 'file');
      this.#fileFailed(undefined);
    } catch (cause) {
      log.warn('policy.file-not-put', { cause });
    }
  }

  #fileFailed(why: string | undefined): void {
    if (why !== undefined && why !== this.#fileProblem) this.#options.log.error('policy.file-not-used', { file: this.#options.config.policy.file, why });
    this.#fileProblem = why;
  }
}

async function write(tx: Queryable, version: { text: string; comment: string; author: Person; source: 'api' | 'file' }): Promise<Row> {
  const { text, comment, author, source } = version;
  const row = await one<Row>(tx, 'INSERT INTO policies (text, digest, author, comment, source) VALUES ($1, $2, $3::jsonb, $4, $5) RETURNING *', [
    text,
    digestOf(text),
    json(author),
    comment,
    source,
  ]);
  if (!row) throw new Error('a version could not be written');
  return row;
}

function load(text: string): LoadResult {
  if (text.length > MAX_POLICY_TEXT) throw new Problem('policy-broken', 'This policy is too long.');
  return loadPolicy([{ layer: 'organisation', file: CENTRAL_FILE, text }], { gateway: true });
}

function compiled(text: string): LoadedPolicy {
  const result = load(text);
  return result.ok ? result.policy : compiled(NOTHING);
}

function compiledLayers(layers: Parameters<typeof loadPolicy>[0]): LoadedPolicy {
  const result = loadPolicy(layers, { gateway: true });
  if (!result.ok) throw new Error('the built-in policy is broken');
  return result.policy;
}

function signed(domain: string, statement: object, key: KeyObject): string {
  return sign(null, Buffer.from(domain + canonical(statement)), key).toString('base64url');
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function viewOf(row: Row): PolicyVersion {
  return {
    version: row.version,
    digest: row.digest,
    author: z.object(Person.shape).parse(row.author),
    comment: row.comment,
    source: row.source,
    createdAt: row.created_at,
  };
}
