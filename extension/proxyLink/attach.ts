/** From whatever is there to an open, proven socket: attach, start, replace or evict. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProxyFile } from '../../contract/daemon.ts';
import { Problem } from '../../contract/problem.ts';
import { choose } from './choose.ts';
import { type Connected, connect } from './connect.ts';
import { readProxyFile } from './locate.ts';
import { isAlive, terminate, waitGone } from './process.ts';
import type { Started } from './spawn.ts';

/** How long a proxy that was started gets until it can be attached to, in milliseconds. */
const START_TIMEOUT_MS = 20_000;
/** How long after our child ended another window's proxy may still turn up, in milliseconds. */
const RIVAL_MS = 3_000;
/** How long a proxy that closed the door on us gets to turn out to be leaving, in milliseconds. */
const LEAVING_MS = 3_000;
/** How long an older proxy gets to leave after it was asked to, in milliseconds. */
const REPLACE_MS = 10_000;
const POLL_MS = 100;
/** Evicting, replacing and starting each lead to another look; more often than this, something fights us. */
const MAX_LOOKS = 6;

export interface AttachDeps {
  readonly folder: string;
  readonly version: string;
  /** The start-up secret, read anew each time: another window may have made it meanwhile. */
  readonly secret: () => Promise<string>;
  readonly start: (secret: string) => Started;
  /** Ask an older proxy to leave, over a proven socket. */
  readonly askToLeave: (socket: Socket, reason: string) => Promise<void>;
  readonly log: (level: 'info' | 'warn', message: string) => void;
  /** Whether a proxy that does not take our secret may be ended: another profile of the same person uses it. */
  readonly mayEvict: boolean;
  readonly signal: AbortSignal;
}

export interface Attached {
  readonly socket: Socket;
  readonly file: ProxyFile;
}

/** @throws Problem with a sentence for a person; `AbortError` when the signal fires. */
export async function attach(deps: AttachDeps): Promise<Attached> {
  for (let look = 0; look < MAX_LOOKS; look++) {
    deps.signal.throwIfAborted();
    const file = await readProxyFile(deps.folder);
    const choice = choose(file, file !== undefined && isAlive(file.pid), deps.version);
    switch (choice.do) {
      case 'start':
        return await startAndAttach(deps);
      case 'reload':
        throw new Problem(
          'newer-proxy',
          `Countersign ${choice.file.version} is already running and this window has ${deps.version}. Update the extension here, then reload the window.`,
        );
      case 'attach': {
        const attached = await tryAttach(deps, choice.file);
        if (attached) return attached;
        break;
      }
      case 'replace':
        await replace(deps, choice.file);
        break;
    }
  }
  throw new Problem(
    'contested',
    'Countersign could not settle which proxy is in charge: several editors start theirs at once. Close one of them, then restart Countersign.',
  );
}

/** An open socket, or undefined when what was there is gone and a new look is due. */
async function tryAttach(deps: AttachDeps, file: ProxyFile): Promise<Attached | undefined> {
  const secret = await deps.secret();
  const connected = await connect(file.socket, secret);
  switch (connected.kind) {
    case 'open':
      return { socket: connected.socket, file };
    case 'refused':
      if ((await deps.secret()) !== secret) return undefined;
      await evict(deps, file, 'it was started by another editor or profile and does not take our secret');
      return undefined;
    case 'stranger':
      await evict(deps, file, connected.why);
      return undefined;
    case 'unreachable':
      // It says that it runs and does not listen: leaving, hung, or its pid was given to another process.
      if (await waitGone(file.pid, RIVAL_MS)) return undefined;
      return await unreachable(deps, file, connected);
  }
}

async function unreachable(deps: AttachDeps, file: ProxyFile, connected: Extract<Connected, { kind: 'unreachable' }>): Promise<Attached | undefined> {
  const ended = await terminate(file.pid);
  deps.log('warn', `proxy ${file.pid} did not answer on ${file.socket} (${connected.why}): ${ended}`);
  if (ended === 'still-there')
    throw new Problem('hung-proxy', `The proxy (process ${file.pid}) does not answer and could not be ended. End that process, then restart Countersign.`);
  return ended === 'not-ours' ? await startAndAttach(deps) : undefined;
}

async function evict(deps: AttachDeps, file: ProxyFile, why: string): Promise<void> {
  // One that is leaving closes the door just as one that does not know us.
  if (await waitGone(file.pid, LEAVING_MS)) return;
  if (!deps.mayEvict) {
    throw new Problem(
      'taken',
      'Another editor or profile of yours has started its own Countersign proxy, and asks are shown there. Use "Take Over" to bring them to this window.',
    );
  }
  deps.log('warn', `ending the running proxy ${file.pid} (version ${file.version}): ${why}`);
  const ended = await terminate(file.pid);
  if (ended === 'gone') return;
  const meaning = ended === 'not-ours' ? 'is not a Countersign proxy, although it answers in its place' : 'could not be ended';
  throw new Problem('foreign-proxy', `Process ${file.pid} ${meaning} (${why}). End it yourself if you know it, then restart Countersign.`);
}

async function replace(deps: AttachDeps, file: ProxyFile): Promise<void> {
  const connected = await connect(file.socket, await deps.secret());
  if (connected.kind === 'open') {
    deps.log('info', `replacing proxy ${file.version} (process ${file.pid}) with ${deps.version}`);
    await deps
      .askToLeave(connected.socket, `replaced by version ${deps.version}`)
      .catch((error: unknown) => deps.log('warn', `it did not take the request: ${String(error)}`));
    connected.socket.destroy();
    if (await waitGone(file.pid, REPLACE_MS)) return;
  }
  await evict({ ...deps, mayEvict: deps.mayEvict || connected.kind === 'open' }, file, 'it is older and did not leave when asked');
}

async function startAndAttach(deps: AttachDeps): Promise<Attached> {
  const secret = await deps.secret();
  const started = deps.start(secret);
  deps.log('info', `started the proxy (process ${started.pid ?? 'none'})`);
  let rivalUntil = Number.POSITIVE_INFINITY;
  for (const until = Date.now() + START_TIMEOUT_MS; Date.now() < Math.min(until, rivalUntil); await sleep(POLL_MS, undefined, { signal: deps.signal })) {
    if (started.hasEnded() && rivalUntil === Number.POSITIVE_INFINITY) rivalUntil = Date.now() + RIVAL_MS;
    const file = await readProxyFile(deps.folder);
    if (file === undefined || !isAlive(file.pid)) continue;
    const connected = await connect(file.socket, await deps.secret());
    if (connected.kind === 'open') return { socket: connected.socket, file };
    // Another window won the race with a secret of its own profile.
    if (connected.kind === 'refused' && file.pid !== started.pid)
      await evict(deps, file, 'it was started by another editor or profile and does not take our secret');
  }
  if (started.hasEnded()) {
    const { code, tail } = await started.ended;
    const words = tail === '' ? '' : ` It said: ${tail.slice(-600)}`;
    throw new Problem('proxy-ended', `The proxy ended as soon as it was started (${code === undefined ? 'no exit code' : `code ${code}`}).${words}`);
  }
  throw new Problem(
    'proxy-slow',
    `The proxy was started and could not be reached within ${START_TIMEOUT_MS / 1000} seconds. Look into the log, then restart Countersign.`,
  );
}
