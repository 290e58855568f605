/**
 * The policy in force, kept up to date with its files. A file that breaks or disappears leaves its last good text in force;
 * one that was never good is replaced by something stricter, never by nothing.
 */
import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { z } from 'zod';
import type { OrganisationView, PolicyProblem, PolicyView, Workspace } from '../../contract/control.ts';
import { type LoadedPolicy, type LoadResult, loadPolicy, MAX_LAYERS, type PolicyLayer } from './load.ts';
import { type PolicyFileRead, readPolicyFile } from './policyFile.ts';
import { MAX_PROBLEMS } from './problems.ts';
import type { PolicyInForce } from './proposeRule.ts';

/** A policy file in a workspace folder. */
export const WORKSPACE_POLICY = 'countersign.yaml';

/** Editors write in several steps: wait until they have been quiet this long, in milliseconds. */
const QUIET_MS = 80;
/** How often files are looked at where the system tells nothing (network drives, folders that are not there yet). */
const POLL_MS = 2_000;

export interface PolicyStoreOptions {
  /** Absolute path of the organisation's file, where there is one. */
  readonly organisation?: string;
  /** Absolute path of the user's own file; it need not exist. */
  readonly user?: string;
  /** What a gateway hands over, above all files. */
  readonly signed?: SignedLayer;
  readonly quietMs?: number;
  readonly pollMs?: number;
}

export interface SignedLayer {
  layer(): PolicyLayer | undefined;
  view(): OrganisationView | undefined;
}

export type PolicyListener = (change: { readonly policy: boolean; readonly view: boolean }) => void;

interface WatchedFile {
  readonly layer: PolicyLayer['layer'];
  readonly path: string;
  readonly trusted: boolean;
  /** As last read; undefined before that. */
  stamp: string | undefined;
  /** The last text that was good by itself. */
  good: string | undefined;
}

/** What takes a broken file's place. */
interface StandIn {
  readonly rule: string;
  readonly verdict: 'ask' | 'deny';
  readonly say: string;
}

export class PolicyStore {
  readonly #options: PolicyStoreOptions;
  readonly #listeners = new Set<PolicyListener>();
  readonly #windows = new Map<string, z.infer<typeof Workspace>>();
  readonly #watchers = new Map<string, FSWatcher>();
  #files: WatchedFile[] = [];
  #policy: LoadedPolicy;
  #view: PolicyView;
  /** What is in force, as texts. */
  #layers: readonly PolicyLayer[] = [];
  #warnings: readonly PolicyProblem[] = [];
  #reloading: Promise<void> = Promise.resolve();
  #quiet: NodeJS.Timeout | undefined;
  #poll: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: PolicyStoreOptions) {
    this.#options = options;
    this.#policy = standInPolicy('the policy', { rule: 'policy-not-read', verdict: 'deny', say: 'The policy has not been read yet. Try again in a moment.' });
    this.#view = viewOf(this.#policy, [], []);
    this.#arrange();
  }

  /** Resolves when the files have been read once, whatever came of it. */
  async start(): Promise<void> {
    await this.reload();
    this.#watchFolders();
    this.#poll = setInterval(() => this.#soon(0), this.#options.pollMs ?? POLL_MS);
    this.#poll.unref();
  }

  current(): LoadedPolicy {
    return this.#policy;
  }

  view(): PolicyView {
    return this.#view;
  }

  /** For trying what a change of the person's own file would mean. */
  inForce(): PolicyInForce {
    return { policy: this.#policy, layers: this.#layers, user: this.#options.user, gateway: this.#options.signed?.layer() !== undefined };
  }

  /** What in the files has no effect: for the editor; nothing is out of force because of it. */
  warnings(): readonly PolicyProblem[] {
    return this.#warnings;
  }

  onChange(listener: PolicyListener): { dispose(): void } {
    this.#listeners.add(listener);
    return { dispose: () => void this.#listeners.delete(listener) };
  }

  /** The folders of a window, an empty list when it has gone. Resolves when their files are in force. */
  async workspace(window: string, workspace: z.infer<typeof Workspace>): Promise<void> {
    if (workspace.folders.length === 0) this.#windows.delete(window);
    else this.#windows.set(window, workspace);
    this.#arrange();
    this.#watchFolders();
    await this.reload();
  }

  /** The gateway has handed over another policy, or its time is over. Resolves when that is in force. */
  async signedChanged(): Promise<void> {
    // As if it were a file that has changed.
    this.#arrange();
    await this.reload();
  }

  /** Reads every file again. */
  reload(): Promise<void> {
    const done = this.#reloading.then(() => this.#load());
    this.#reloading = done.catch(() => undefined);
    return done;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#poll);
    clearTimeout(this.#quiet);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    this.#listeners.clear();
    await this.#reloading;
  }

  /** Which files there are now. A folder is trusted only if every window that has it says so. */
  #arrange(): void {
    const wanted: { layer: PolicyLayer['layer']; path: string; trusted: boolean }[] = [];
    if (this.#options.organisation !== undefined) wanted.push({ layer: 'organisation', path: this.#options.organisation, trusted: true });
    if (this.#options.user !== undefined) wanted.push({ layer: 'user', path: this.#options.user, trusted: true });
    const folders = new Map<string, boolean>();
    for (const { folders: own } of this.#windows.values()) {
      for (const { path, trusted } of own) folders.set(join(path, WORKSPACE_POLICY), trusted && (folders.get(join(path, WORKSPACE_POLICY)) ?? true));
    }
    for (const [path, trusted] of folders)
      if (path !== this.#options.user && path !== this.#options.organisation) wanted.push({ layer: 'workspace', path, trusted });
    const before = this.#files;
    this.#files = wanted.map((file) => {
      const known = before.find((one) => one.layer === file.layer && one.path === file.path);
      return { ...file, stamp: undefined, good: known?.good };
    });
  }

  async #load(): Promise<void> {
    if (this.#stopped) return;
    const files = this.#files;
    const reads = await Promise.all(files.map(({ path }) => readPolicyFile(path)));
    if (this.#stopped || files !== this.#files) return;
    if (files.length > 0 && files.every((file, i) => file.stamp !== undefined && file.stamp === reads[i]?.stamp)) return;
    files.forEach((file, i) => {
      file.stamp = reads[i]?.stamp ?? '';
    });
    this.#put(files, reads);
  }

  #put(files: readonly WatchedFile[], reads: readonly PolicyFileRead[]): void {
    const problems: PolicyProblem[] = [];
    const signed = this.#options.signed?.layer();
    const together = (those: readonly { readonly file: WatchedFile; readonly text: string }[]): LoadResult =>
      loadPolicy([...(signed ? [signed] : []), ...those.map(asLayer)], { gateway: signed !== undefined });
    const candidates = files.flatMap((file, i) => {
      const text = candidate(file, reads[i], problems, signed !== undefined);
      return text === undefined ? [] : [{ file, text }];
    });
    let chosen = candidates;
    let result = together(chosen);
    if (!result.ok) {
      // Each was good alone; what they say together is not. Whoever is named goes back to what was in force, or is stood in for.
      problems.push(...result.problems);
      const named = new Set(result.problems.map((problem) => problem.file));
      const back = (again: boolean): typeof chosen =>
        candidates.map(({ file, text }) =>
          named.has(file.path)
            ? { file, text: again && file.good !== undefined && file.good !== text ? file.good : standInText(standInFor(file)) }
            : { file, text },
        );
      chosen = back(true);
      result = together(chosen);
      if (!result.ok) {
        chosen = back(false);
        result = together(chosen);
      }
    }
    // Not even that: nothing is better known than what is in force.
    const policy = result.ok ? result.policy : this.#policy;
    if (result.ok) {
      this.#layers = [...(signed ? [signed] : []), ...chosen.map(asLayer)];
      for (const { file, text } of chosen) {
        const read = reads[files.indexOf(file)];
        if (read?.state === 'read' && read.text === text) file.good = text;
      }
    }
    this.#warnings = result.warnings;
    this.#publish(
      policy,
      viewOf(
        policy,
        chosen.map(({ file }) => file.path),
        problems,
        this.#options.signed?.view(),
      ),
    );
  }

  #soon(ms: number): void {
    if (this.#stopped) return;
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => {
      this.#watchFolders();
      void this.reload();
    }, ms);
    this.#quiet.unref();
  }

  /** Watches folders, not files: a file that is replaced is another file. Polling covers what cannot be watched. */
  #watchFolders(): void {
    if (this.#stopped) return;
    const names = new Map<string, Set<string>>();
    for (const { path } of this.#files) names.set(dirname(path), (names.get(dirname(path)) ?? new Set()).add(basename(path)));
    for (const [folder, watcher] of this.#watchers) {
      if (names.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of names.keys()) {
      if (this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, (_event, name) => {
          const wanted = this.#files.some(({ path }) => dirname(path) === folder && (name === null || basename(path) === name));
          if (wanted) this.#soon(this.#options.quietMs ?? QUIET_MS);
        });
        watcher.on('error', () => {
          watcher.close();
          if (this.#watchers.get(folder) === watcher) this.#watchers.delete(folder);
        });
        this.#watchers.set(folder, watcher);
      } catch {
        // The folder is not there, or the system has no watches left.
      }
    }
  }

  #publish(policy: LoadedPolicy, view: PolicyView): void {
    const change = { policy: policy.version !== this.#policy.version, view: JSON.stringify(view) !== JSON.stringify(this.#view) };
    if (!change.policy && !change.view) return;
    if (change.policy) this.#policy = policy;
    this.#view = view;
    for (const listener of this.#listeners) listener(change);
  }
}

function asLayer({ file, text }: { readonly file: WatchedFile; readonly text: string }): PolicyLayer {
  return { layer: file.layer, file: file.path, text, trusted: file.trusted };
}

/** The text to put in force for a file; undefined: there is none. */
function candidate(file: WatchedFile, read: PolicyFileRead | undefined, problems: PolicyProblem[], gateway: boolean): string | undefined {
  const say = (message: string): void => void problems.push({ file: file.path, line: 1, column: 1, message: `${message} ${inForceMeanwhile(file)}` });
  if (!read) return file.good;
  switch (read.state) {
    case 'missing':
      if (file.good !== undefined) say('This policy file is gone. Put it back; to do without it, restart Countersign.');
      return file.good;
    case 'failed':
      say(read.why);
      break;
    case 'read': {
      const alone = loadPolicy([asLayer({ file, text: read.text })], { gateway });
      if (alone.ok) return read.text;
      problems.push(...alone.problems);
      break;
    }
  }
  return file.good ?? standInText(standInFor(file));
}

function inForceMeanwhile(file: WatchedFile): string {
  if (file.good !== undefined) return 'Until then, its last good version stays in force.';
  return file.layer === 'workspace' ? 'Until then, everything asks.' : 'Until then, everything is denied.';
}

/**
 * What holds in place of a file that was never good: a workspace's could only have tightened, so everything asks; the
 * user's or the organisation's could have denied anything, so everything is denied.
 */
function standInFor({ layer, path }: WatchedFile): StandIn {
  const mend = `The policy file ${path} cannot be used. Mend it; it is read again by itself.`;
  return layer === 'workspace'
    ? { rule: 'broken-workspace-policy', verdict: 'ask', say: `${mend} Until then, everything asks.` }
    : { rule: 'broken-policy', verdict: 'deny', say: `${mend} Until then, everything is denied.` };
}

function standInText({ rule, verdict, say }: StandIn): string {
  // JSON is YAML.
  return JSON.stringify({ version: 1, rules: [{ id: rule, when: 'true', verdict, say: say.slice(0, 1000) }] });
}

function standInPolicy(file: string, standIn: StandIn): LoadedPolicy {
  const result = loadPolicy([{ layer: 'user', file, text: standInText(standIn) }]);
  if (!result.ok) throw new Error('the policy that stands in for a missing one is broken');
  return result.policy;
}

function viewOf(policy: LoadedPolicy, files: readonly string[], problems: readonly PolicyProblem[], organisation?: OrganisationView): PolicyView {
  return {
    version: policy.version,
    files: files.slice(0, MAX_LAYERS).map((file) => file.slice(0, 1000)),
    problems: problems.slice(0, MAX_PROBLEMS),
    rules: policy.rules.filter(({ ref }) => ref.layer !== 'builtin').length,
    ...(organisation && { organisation }),
  };
}
