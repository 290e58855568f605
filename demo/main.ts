/** `npm start`: the main job in a real editor. */
import { existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runCheck } from './check.ts';
import { Demo, findDesktopEditor } from './demo.ts';
import { PROMPTS, SHARED, TEAM_PROMPT } from './story.ts';

const ROOT = resolve(import.meta.dirname, '..');
const USAGE = `npm start [-- OPTIONS]

Starts a real PostgreSQL with a small shop in it and a real VS Code with Countersign installed, and prints the address; then a
team's gateway with an identity provider, and the editor of a second person, who approves.

  --desktop [code|cursor]  use the editor on your PATH instead of the one in the browser
  --check                  let a scripted agent and two scripted people do the whole story, print each step, and exit
  --reset                  forget the data of earlier runs first
  --help                   this text
`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { desktop: { type: 'boolean' }, check: { type: 'boolean' }, reset: { type: 'boolean' }, help: { type: 'boolean' } },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const vsix = join(ROOT, 'out', 'countersign.vsix');
  if (!existsSync(vsix)) throw new Error(`${vsix} is missing. Run this as "npm start", which builds it.`);
  const say = (line: string) => console.log(line);
  if (values.check) return runCheck({ vsix, say });

  const desktop = values.desktop ? findDesktopEditor(positionals[0]) : undefined;
  if (values.desktop && desktop === undefined)
    throw new Error(`No ${positionals[0] ?? '"code" or "cursor"'} on the PATH. Install the editor's shell command, or run npm start without --desktop.`);
  const folder = join(ROOT, '.demo');
  if (values.reset) rmSync(folder, { recursive: true, force: true });

  const demo = new Demo({ folder, vsix, say, team: true, ...(desktop !== undefined && { desktop }) });
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= (async () => {
      say('\nStopping…');
      await demo.stop();
    })();
    return stopping;
  };
  const stopped = new Promise<void>((done) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop().finally(done));
  });
  try {
    await demo.start();
  } catch (error) {
    if (stopping === undefined) {
      await stop();
      throw error;
    }
  }
  if (stopping === undefined) {
    say(alone(demo, desktop));
    demo.startTeam().then(
      () => stopping === undefined && say(together(demo, desktop)),
      (error: unknown) =>
        stopping === undefined && say(`\n  The team’s part did not start; the rest goes on. ${error instanceof Error ? error.message : String(error)}`),
    );
  }
  await stopped;
  return 0;
}

function alone({ workbench }: Demo, desktop: string | undefined): string {
  const prompts = Object.values(PROMPTS)
    .map((prompt) => `    “${prompt}”`)
    .join('\n');
  return `
  ${desktop === undefined ? `Open ${workbench.url()}` : `${desktop} is opening the shop.`}

  Ask the chat, in agent mode, once it says “Scripted Model” below what you type:
${prompts}
  Where the editor asks whether the chat may use a tool, choose Allow; then look at Countersign in the activity bar. A terminal's psql goes through it too.

  Ctrl-C stops all of it.
`;
}

function together({ team }: Demo, desktop: string | undefined): string {
  return `
  With a team: the window above is Dana's, a developer. Sam, the database administrator, has one of his own:

  ${desktop === undefined ? `Open ${team.window.workbench.url()} beside it` : `${desktop} is opening it.`}

  In both, sign in from the Accounts menu (the person at the bottom left), as Dana and as Sam. Then ask Dana's chat:
    “${TEAM_PROMPT}”
  It waits in Sam's window, where he approves or denies it; Dana cannot. The database's login is the gateway's alone.
  Dana's terminal: psql "$COUNTERSIGN_DSN_${SHARED.toUpperCase()}". The gateway's console: ${team.gateway.url}

  Ctrl-C stops all of it.`;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
