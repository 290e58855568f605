import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { METHODS } from '../../contract/control.ts';
import { COMMANDS, CONTAINER, CONTEXT, DEFINITION_SCHEME, GATEWAY_PROVIDER, ITEM, MCP_PROVIDER, SETTINGS, VIEWS, WALKTHROUGH } from '../../extension/ids.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const text = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Manifest {
  main: string;
  icon: string;
  activationEvents: string[];
  extensionKind: string[];
  capabilities: { untrustedWorkspaces: { supported: unknown }; virtualWorkspaces: { supported: unknown } };
  contributes: {
    commands: { command: string; title: string; category: string; enablement?: string }[];
    menus: Record<string, { command: string; when?: string }[]>;
    views: Record<string, { id: string }[]>;
    viewsContainers: { activitybar: { id: string; icon: string }[] };
    viewsWelcome: { view: string; contents: string; when: string }[];
    configuration: { properties: Record<string, { scope: string; default: unknown; markdownDescription: string }> };
    languages: { id: string; extensions: string[] }[];
    configurationDefaults: Record<string, Record<string, unknown>>;
    authentication: { id: string }[];
    mcpServerDefinitionProviders: { id: string }[];
    walkthroughs: { id: string; steps: { id: string; completionEvents: string[]; media: Record<string, string> }[] }[];
  };
}

const manifestText = text('package.json');
const manifest = JSON.parse(manifestText) as Manifest;
const { contributes } = manifest;
const strings = JSON.parse(text('package.nls.json')) as Record<string, string>;
const sources = new Map(globSync('extension/**/*.ts', { cwd: ROOT }).map((file) => [file.replaceAll('\\', '/'), text(file)]));
const sorted = (values: Iterable<string>): string[] => [...values].sort();

describe('the manifest and the code', () => {
  it('name the same commands', () => {
    assert.deepEqual(sorted(contributes.commands.map((c) => c.command)), sorted(Object.values(COMMANDS)));
  });

  it('name the same views, in the one container', () => {
    assert.deepEqual(
      contributes.viewsContainers.activitybar.map((c) => c.id),
      [CONTAINER],
    );
    assert.deepEqual(sorted((contributes.views[CONTAINER] ?? []).map((v) => v.id)), sorted(Object.values(VIEWS)));
    assert.deepEqual(Object.keys(contributes.views), [CONTAINER]);
  });

  it('name the same settings, and the ones that would loosen protection cannot be set by a workspace', () => {
    const { properties } = contributes.configuration;
    assert.deepEqual(sorted(Object.keys(properties)), sorted(Object.values(SETTINGS)));
    for (const setting of [SETTINGS.terminal, SETTINGS.mcp, SETTINGS.gatewayUrl, SETTINGS.gatewayCa])
      assert.equal(properties[setting]?.scope, 'machine', setting);
  });

  it('name the same MCP provider, kind of account and walkthrough', () => {
    assert.deepEqual(
      contributes.authentication.map((p) => p.id),
      [GATEWAY_PROVIDER],
    );
    assert.deepEqual(
      contributes.mcpServerDefinitionProviders.map((p) => p.id),
      [MCP_PROVIDER],
    );
    assert.deepEqual(
      contributes.walkthroughs.map((w) => w.id),
      [WALKTHROUGH],
    );
  });

  it('use in menus, welcomes and completion events only commands, context keys and views that exist', () => {
    const commands = new Set<string>(Object.values(COMMANDS));
    const known = new Set<string>([...Object.values(CONTEXT), ...Object.values(VIEWS)]);
    for (const [menu, items] of Object.entries(contributes.menus)) for (const { command } of items) assert.ok(commands.has(command), `${menu}: ${command}`);
    const clauses = [
      ...Object.values(contributes.menus).flatMap((items) => items.map((item) => item.when ?? '')),
      ...contributes.commands.map((c) => c.enablement ?? ''),
      ...contributes.viewsWelcome.map((w) => w.when),
    ];
    for (const clause of clauses) for (const [key] of clause.matchAll(/countersign\.[\w.]+/g)) assert.ok(known.has(key), `${key} in "${clause}"`);
    for (const { view } of contributes.viewsWelcome) assert.ok(known.has(view), view);
    for (const step of contributes.walkthroughs.flatMap((w) => w.steps)) {
      for (const event of step.completionEvents) {
        const [kind, id = ''] = event.split(':');
        assert.ok(kind === 'onContext' ? known.has(id) : kind === 'onCommand' && commands.has(id), event);
      }
      for (const [kind, file] of Object.entries(step.media)) if (kind !== 'altText') assert.ok(text(file).length > 100, file);
    }
    for (const [, viewItem] of clauses.join(' ').matchAll(/viewItem == ([\w.]+)/g))
      assert.ok((Object.values(ITEM) as string[]).includes(viewItem ?? ''), viewItem);
  });

  it('have a text for every string, and no text that nothing shows', () => {
    const used = new Set([...manifestText.matchAll(/%([\w.]+)%/g)].map((match) => match[1] ?? ''));
    assert.deepEqual(sorted(used), sorted(Object.keys(strings)));
    for (const [, command] of Object.values(strings)
      .join('\n')
      .matchAll(/\(command:([\w.]+)\)/g)) {
      assert.ok(command?.startsWith('workbench.') || (Object.values(COMMANDS) as string[]).includes(command ?? ''), command);
    }
  });

  it('put every command under one category, and give those that need the proxy an enablement', () => {
    for (const command of contributes.commands) assert.equal(command.category, 'Countersign', command.command);
    const always = contributes.commands.filter((c) => c.enablement === undefined).map((c) => c.command);
    const mustAlwaysWork: string[] = [
      COMMANDS.showApprovals,
      COMMANDS.forgetSecret,
      COMMANDS.importSecrets,
      COMMANDS.undoProtection,
      COMMANDS.undoAllProtection,
      COMMANDS.openConfig,
      COMMANDS.openPolicy,
      COMMANDS.showLog,
      COMMANDS.doctor,
      COMMANDS.walkthrough,
    ];
    assert.deepEqual(sorted(always), sorted(mustAlwaysWork));
  });

  it('wrap what a person accepts: a long line that runs out of sight could say anything', () => {
    const { languages, configurationDefaults } = contributes;
    assert.ok(languages.some(({ id, extensions }) => id === DEFINITION_SCHEME && extensions.includes(`.${DEFINITION_SCHEME}`)));
    assert.equal(configurationDefaults[`[${DEFINITION_SCHEME}]`]?.['editor.wordWrap'], 'on');
    assert.match(sources.get('extension/pins/definitions.ts') ?? '', /definition\.\$\{DEFINITION_SCHEME\}`/);
  });

  it('run beside the agent, with limited trust and on real files only', () => {
    assert.deepEqual(manifest.extensionKind, ['workspace']);
    assert.equal(manifest.capabilities.untrustedWorkspaces.supported, 'limited');
    assert.equal(manifest.capabilities.virtualWorkspaces.supported, false);
    assert.deepEqual(manifest.activationEvents, ['onStartupFinished']);
    assert.equal(manifest.main, './dist/extension.cjs');
  });

  it('translate the same sentences', () => {
    const bundle = JSON.parse(text('l10n/bundle.l10n.json')) as Record<string, string>;
    const said = new Set([...sources.values()].flatMap(sentences));
    assert.deepEqual(sorted(Object.keys(bundle)), sorted(said));
  });
});

describe('activation', () => {
  it('loads nothing but our own small files: what is heavy comes after it has returned', () => {
    const seen = new Set<string>();
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      const code = text(file);
      for (const [, names = '', from = ''] of code.matchAll(/^(?:import|export) ((?!type\b)[^;]*?) from '([^']+)';/gm)) {
        const onlyTypes =
          /^\{[\s\S]*\}$/.test(names) &&
          names
            .slice(1, -1)
            .split(',')
            .every((name) => name.trim() === '' || name.trim().startsWith('type '));
        if (onlyTypes || from === 'vscode' || from.startsWith('node:')) continue;
        assert.ok(from.startsWith('.'), `${[...seen].join(' → ')} loads ${from}`);
        visit(join(file, '..', from).replaceAll('\\', '/'));
      }
    };
    visit('extension/main.ts');
    assert.ok(seen.has('extension/model.ts') && seen.has('extension/gateway/questions.ts'), [...seen].join(' '));
  });
});

describe('a decision', () => {
  it('leaves the extension in one place, and that place is not a command', () => {
    const users = [...sources].filter(([, code]) => /METHODS\.answer\b|approval\.answer\b|\bteam\.answer\(/.test(code)).map(([file]) => file);
    assert.deepEqual(users, ['extension/approvals/view.ts']);
    const calls = [...(sources.get('extension/approvals/view.ts') ?? '').matchAll(/this\.#answer\(/g)];
    assert.equal(calls.length, 1, 'only the handler of the panel’s own messages answers');
    const toGateway = [...sources].filter(([, code]) => /call\('answer'/.test(code)).map(([file]) => file);
    assert.deepEqual(toGateway, ['extension/gateway/team.ts']);
    assert.equal(METHODS.answer, 'countersign/approval.answer');
  });

  it('cannot be reached by a link, a task, a chat tool or a terminal', () => {
    const forbidden = /registerTaskProvider|lm\.registerTool|registerTerminalLinkProvider|registerTerminalProfileProvider|createChatParticipant/;
    for (const [file, code] of sources) assert.doesNotMatch(code, forbidden, file);
    // A link may end a sign-in that was begun here, and has nothing at hand to do more with.
    const handlers = [...sources].filter(([, code]) => /registerUriHandler|UriHandler\b/.test(code)).map(([file]) => file);
    assert.deepEqual(sorted(handlers), ['extension/gateway/gatewayLink.ts', 'extension/gateway/signIn.ts']);
    const imports = [...(sources.get('extension/gateway/signIn.ts') ?? '').matchAll(/from '([^']+)'/g)].map((match) => match[1]);
    assert.deepEqual(imports, ['vscode', '../../contract/problem.ts', './loopback.ts', './oauth.ts']);
    for (const point of ['languageModelTools', 'chatParticipants', 'taskDefinitions', 'terminal', 'keybindings']) assert.ok(!(point in contributes), point);
  });

  it('has no command that sounds like one', () => {
    for (const id of Object.values(COMMANDS)) assert.doesNotMatch(id, /approve\b|deny|answer|decide|grant/i);
  });

  it('is not offered by a notification: their buttons only show something', () => {
    const notices = sources.get('extension/approvals/notices.ts') ?? '';
    assert.doesNotMatch(notices, /\.request\(/);
  });
});

describe('notifications', () => {
  it('are shown in one place, which leaves no link in them; dialogs show none', () => {
    for (const [file, code] of sources) {
      if (file === 'extension/notify.ts') continue;
      for (const { index } of code.matchAll(/\bshow(?:Information|Warning|Error)Message\b/g)) assert.match(code.slice(index, index + 400), /modal: true/, file);
    }
  });
});

/** The English sentences that a source hands to `t` or `vscode.l10n.t`. */
function sentences(code: string): string[] {
  const call = /\b(?:l10n\.)?t\(\s*(['"`])((?:\\.|(?!\1)[\s\S])*?)\1/g;
  return [...code.matchAll(call)].map((match) => (match[2] ?? '').replace(/\\(['"`\\])/g, '$1').replaceAll('\\n', '\n'));
}
