/** The proxy that is measured: a bundle, with one policy file, once its connections stand. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { METHODS, SurfaceAccess } from '../contract/control.ts';
import { Home } from '../test/proxy/daemon/daemonProcess.ts';

const BUNDLE = process.env.BENCH_PROXY ?? resolve(import.meta.dirname, '../dist/proxy.cjs');
/** Flags for the proxy's Node, separated by spaces: `--cpu-prof --cpu-prof-dir=/tmp/prof` shows what a figure is made of. */
const NODE_FLAGS = (process.env.BENCH_NODE_FLAGS ?? '').split(' ').filter((flag) => flag !== '');

export interface ProxyOptions {
  readonly policy: string;
  /** Secrets that the policy names. */
  readonly env?: Readonly<Record<string, string>>;
  /** The gateway that it is signed in to. */
  readonly gateway?: object;
}

/** @param stops gets what ends it. @returns how what it serves is reached, what an MCP client's configuration names in front of a connection, and its process */
export async function startProxy(
  { env = {}, gateway, policy }: ProxyOptions,
  stops: (() => unknown)[],
): Promise<{ access: SurfaceAccess; bridge: readonly string[]; pid: number }> {
  const home = new Home({ ...env }, BUNDLE);
  stops.push(() => home.remove());
  writeFileSync(join(home.path, 'countersign.yaml'), policy, { mode: 0o600 });
  const { at, child, exit } = await home.start({ nodeFlags: NODE_FLAGS });
  const window = await home.attach(at);
  stops.push(async () => {
    window.close();
    // A profile is written on the way out, which a kill would not leave time for.
    if (NODE_FLAGS.length > 0) child.kill('SIGTERM');
    if (NODE_FLAGS.length > 0) await exit;
  });
  if (gateway) await window.request(METHODS.putGateway, gateway);
  const up = await window.until(
    ({ connections, policy: { problems } }) =>
      problems.length > 0 || (connections.length > 0 && connections.every(({ state }) => state === 'ready' || state === 'failed')),
  );
  const problem = up.policy.problems[0]?.message ?? up.connections.find(({ state }) => state === 'failed')?.problem;
  if (problem !== undefined) throw new Error(`the proxy does not serve what is measured: ${problem}`);
  return { access: SurfaceAccess.parse(await window.request(METHODS.access)), bridge: installedBridge(home.path), pid: at.pid };
}

/** Where the extension puts it, in the proxy's state folder. */
function installedBridge(state: string): readonly string[] {
  const at = join(state, 'bin', 'countersign-mcp.cjs');
  mkdirSync(dirname(at), { recursive: true, mode: 0o700 });
  copyFileSync(join(dirname(BUNDLE), 'bridge.cjs'), at);
  return [process.execPath, at];
}
