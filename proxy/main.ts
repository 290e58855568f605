/** Entry point of the proxy: `proxy daemon`, started by the extension; `proxy mcp <name>`, for clients that only speak stdio. */
import { isNewEnough, MIN_NODE } from './daemon/nodeVersion.ts';

/** Anything newer than the language is loaded only after the version was checked, so that an old Node gets a sentence. */
async function main([command, name, ...rest]: readonly string[]): Promise<void> {
  if (!isNewEnough(process.versions.node)) {
    return fail(
      `Countersign's proxy needs Node.js ${MIN_NODE.join('.')} or newer and was started with ${process.versions.node}. Update the editor, or Node.js.`,
    );
  }
  if (command === 'daemon' && name === undefined) {
    const { runDaemon } = await import('./daemon/lifecycle.ts');
    return runDaemon();
  }
  if (command === 'mcp' && name !== undefined && rest.length === 0) {
    const { runBridge } = await import('./http/stdioBridge.ts');
    return runBridge(name);
  }
  return fail('Usage: proxy daemon | proxy mcp <name>');
}

function fail(sentence: string): void {
  process.exitCode = 1;
  process.stderr.write(`${sentence}\n`);
}

void main(process.argv.slice(2)).catch((cause: unknown) => fail(`Countersign's proxy failed: ${cause instanceof Error ? cause.message : 'unknown error'}`));
