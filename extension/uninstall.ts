/**
 * `vscode:uninstall`: the editor runs this with plain Node when the extension has been removed. Puts every rewritten MCP
 * configuration back as it was. There is no editor, so secrets stay in its storage; originals come from our own records.
 */
import { rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { stateFolder, userPolicyFile } from '../contract/daemon.ts';
import { launcherPath, removeLauncher } from './mcpServers/launcher.ts';
import { undo } from './mcpServers/protect.ts';
import { Records } from './mcpServers/records.ts';

async function main(): Promise<void> {
  const machine = { platform: process.platform, env: process.env, home: homedir() };
  const state = stateFolder(machine);
  const records = new Records(state);
  const deps = { records, launcher: launcherPath(state), policyFile: userPolicyFile(machine), secrets: { forget: async () => undefined } };
  let whole = true;
  for (const { file } of await records.all()) {
    try {
      for (const problem of await undo(file, undefined, deps)) process.stderr.write(`${problem}\n`);
    } catch (cause) {
      whole = false;
      process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
    }
  }
  await removeLauncher(state);
  // Originals of files that could not be put back stay: they are all there is of them.
  if (whole) rmSync(records.folder, { recursive: true, force: true });
}

void main().catch((cause: unknown) => {
  process.exitCode = 1;
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
});
