/** Checks each piece of the editor's side, asks the proxy for its own, and says what to do about what it finds. */
import { lstat } from 'node:fs/promises';
import * as vscode from 'vscode';
import { z } from 'zod';
import { DoctorCheck, METHODS } from '../../contract/control.ts';
import type { Access } from '../agents/access.ts';
import { cursorMcp } from '../agents/cursorMcp.ts';
import type { TerminalEnvironment } from '../agents/terminal.ts';
import { type GatewayLink, gatewayStanding } from '../gateway/gatewayLink.ts';
import { DOCTOR_SCHEME, SETTINGS } from '../ids.ts';
import { shortPath } from '../mcpServers/commands.ts';
import type { McpServers } from '../mcpServers/servers.ts';
import type { Model } from '../model.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { ourStateFolder, readProxyFile } from '../proxyLink/locate.ts';
import type { SecretStore } from '../secrets/store.ts';
import { doctorReport } from './report.ts';

const Reply = z.object({ checks: z.array(DoctorCheck).max(200) });
const TIMEOUT_MS = 20_000;

export interface DoctorDeps {
  readonly link: ProxyLink;
  readonly model: Model;
  readonly access: Access;
  readonly terminal: TerminalEnvironment;
  readonly secrets: SecretStore;
  readonly servers: McpServers;
  readonly gateway: GatewayLink;
  readonly version: string;
  readonly activationMs: number;
}

export class DoctorPage implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly #registration = vscode.workspace.registerTextDocumentContentProvider(DOCTOR_SCHEME, this);
  readonly #uri = vscode.Uri.from({ scheme: DOCTOR_SCHEME, path: '/Countersign Doctor.md' });
  #text = '';

  readonly onDidChange = this.#changed.event;

  provideTextDocumentContent(): string {
    return this.#text;
  }

  async show(text: string): Promise<void> {
    this.#text = text;
    this.#changed.fire(this.#uri);
    try {
      await vscode.commands.executeCommand('markdown.showPreview', this.#uri);
    } catch {
      // The preview belongs to a built-in extension that a person may have turned off.
      await vscode.window.showTextDocument(this.#uri, { preview: true });
    }
  }

  dispose(): void {
    this.#registration.dispose();
    this.#changed.dispose();
  }
}

export async function runDoctor(deps: DoctorDeps, page: DoctorPage): Promise<DoctorCheck[]> {
  const checks = await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: vscode.l10n.t('Countersign looks at each piece') }, () =>
    examine(deps),
  );
  await page.show(doctorReport(checks, deps.version, vscode.l10n.t));
  return checks;
}

async function examine(deps: DoctorDeps): Promise<DoctorCheck[]> {
  const own = [
    proxyCheck(deps),
    await socketCheck(deps),
    terminalCheck(deps),
    mcpCheck(deps),
    serversCheck(deps),
    await secretsCheck(deps),
    activationCheck(deps),
    ...gatewayCheck(deps),
  ];
  return [...own, ...(await proxyChecks(deps.link))];
}

/** Nothing where no gateway is set. */
function gatewayCheck({ gateway }: DoctorDeps): DoctorCheck[] {
  const { well, line } = gatewayStanding(gateway);
  return line === undefined ? [] : [check('editor.gateway', vscode.l10n.t('Gateway of the team'), well ? 'ok' : 'warning', line)];
}

function proxyCheck({ link, version }: DoctorDeps): DoctorCheck {
  const title = vscode.l10n.t('Proxy');
  const { state } = link;
  switch (state.kind) {
    case 'on':
      return state.version === version
        ? check('editor.proxy', title, 'ok', vscode.l10n.t('Version {0}, process {1}.', state.version, state.pid))
        : check(
            'editor.proxy',
            title,
            'warning',
            vscode.l10n.t('The proxy is version {0}, this window has {1}. Reload the window to bring them together.', state.version, version),
          );
    case 'starting':
      return check('editor.proxy', title, 'warning', vscode.l10n.t('It is starting. Run the doctor again in a moment.'));
    case 'off':
      return check('editor.proxy', title, 'failed', vscode.l10n.t('Countersign was turned off. Run "Countersign: Start" to turn it on.'));
    case 'failed':
      return check('editor.proxy', title, 'failed', state.sentence);
  }
}

async function socketCheck({ link }: DoctorDeps): Promise<DoctorCheck> {
  const title = vscode.l10n.t('Control channel');
  if (link.state.kind !== 'on') return check('editor.socket', title, 'failed', vscode.l10n.t('Not open: the proxy is not connected.'));
  try {
    const file = await readProxyFile(ourStateFolder());
    if (file === undefined)
      return check('editor.socket', title, 'warning', vscode.l10n.t('Open, but the proxy left no note of itself for other windows. Restart Countersign.'));
    if (process.platform !== 'win32') {
      const stat = await lstat(file.socket);
      if (!stat.isSocket() || stat.uid !== process.getuid?.())
        return check('editor.socket', title, 'failed', vscode.l10n.t('{0} is not a socket of yours. Restart Countersign.', file.socket));
    }
    return check('editor.socket', title, 'ok', vscode.l10n.t('Open on {0}; both sides proved the start-up secret.', file.socket));
  } catch (error) {
    return check('editor.socket', title, 'failed', error instanceof Error ? error.message : String(error));
  }
}

function terminalCheck({ terminal, link }: DoctorDeps): DoctorCheck {
  const title = vscode.l10n.t('Terminals');
  if (!vscode.workspace.getConfiguration().get(SETTINGS.terminal, true)) {
    return check(
      'editor.terminal',
      title,
      'warning',
      vscode.l10n.t('The setting {0} is off: clients in terminals do not go through Countersign.', SETTINGS.terminal),
    );
  }
  const { names } = terminal;
  if (names.length > 0)
    return check(
      'editor.terminal',
      title,
      'ok',
      vscode.l10n.t('New terminals get {0}. Terminals that were open before show a mark: start them again.', names.join(', ')),
    );
  return link.state.kind === 'on'
    ? check('editor.terminal', title, 'warning', vscode.l10n.t('No connection is set up for terminals. Add a database to the policy.'))
    : check('editor.terminal', title, 'failed', vscode.l10n.t('Terminals are not pointed at the proxy, because it is not connected.'));
}

function mcpCheck({ access, link }: DoctorDeps): DoctorCheck {
  const title = vscode.l10n.t('Tools for the agent (MCP)');
  if (!vscode.workspace.getConfiguration().get(SETTINGS.mcp, true)) {
    return check(
      'editor.mcp',
      title,
      'warning',
      vscode.l10n.t("The setting {0} is off: the agent in this editor does not get Countersign's tools.", SETTINGS.mcp),
    );
  }
  const cursor = cursorMcp(vscode) !== undefined;
  if (!cursor && typeof vscode.lm?.registerMcpServerDefinitionProvider !== 'function') {
    return check(
      'editor.mcp',
      title,
      'warning',
      vscode.l10n.t("This editor cannot take tools from an extension. Add Countersign's address to its MCP settings by hand."),
    );
  }
  const servers = access.current?.mcp ?? [];
  if (servers.length > 0)
    return check(
      'editor.mcp',
      title,
      'ok',
      vscode.l10n.t('Offered to {0}: {1}.', cursor ? 'Cursor' : vscode.env.appName, servers.map((s) => s.label).join(', ')),
    );
  return check('editor.mcp', title, link.state.kind === 'on' ? 'warning' : 'failed', vscode.l10n.t('Nothing is offered, because the proxy named no tools.'));
}

function serversCheck({ servers }: DoctorDeps): DoctorCheck {
  const title = vscode.l10n.t('MCP servers of the agents');
  const open = servers.servers.filter(({ status }) => status.kind !== 'protected');
  const broken = servers.files.filter(({ problem }) => problem !== undefined);
  if (open.length + broken.length === 0) {
    const known = servers.servers.length;
    return check(
      'editor.servers',
      title,
      'ok',
      known === 0 ? vscode.l10n.t('The agents on this machine have none of their own.') : vscode.l10n.t('All {0} go through Countersign.', known),
    );
  }
  const named = open.map(({ entry, source, status }) =>
    status.kind === 'unclear' ? `${entry.name} (${shortPath(source.file)}): ${status.why}` : `${entry.name} (${shortPath(source.file)})`,
  );
  return check(
    'editor.servers',
    title,
    'warning',
    vscode.l10n.t(
      'Not protected: {0}. Protect them in the Connections view.',
      [...named, ...broken.map(({ source, problem }) => `${shortPath(source.file)}: ${problem ?? ''}`)].join('; '),
    ),
  );
}

async function secretsCheck({ secrets, model }: DoctorDeps): Promise<DoctorCheck> {
  const title = vscode.l10n.t('Secrets');
  const missing = (model.snapshot?.connections ?? []).filter((c) => c.state === 'needs-secret');
  if (missing.length > 0) {
    return check(
      'editor.secrets',
      title,
      'warning',
      vscode.l10n.t('Missing for {0}. Use "Enter Secret" in the Connections view.', missing.map((c) => c.name).join(', ')),
    );
  }
  const names = await secrets.names();
  return check(
    'editor.secrets',
    title,
    'ok',
    names.length === 0 ? vscode.l10n.t('None kept, none needed.') : vscode.l10n.t("Kept in the editor's secret storage: {0}.", names.join(', ')),
  );
}

function activationCheck({ activationMs }: DoctorDeps): DoctorCheck {
  return check('editor.activation', vscode.l10n.t('Activation'), 'ok', vscode.l10n.t('The extension took {0} ms to activate.', activationMs.toFixed(1)));
}

async function proxyChecks(link: ProxyLink): Promise<DoctorCheck[]> {
  if (link.state.kind !== 'on') return [];
  const source = new vscode.CancellationTokenSource();
  const timer = setTimeout(() => source.cancel(), TIMEOUT_MS);
  try {
    return (await link.request(METHODS.doctor, {}, Reply, source.token)).checks;
  } catch (error) {
    return [check('proxy', vscode.l10n.t("The proxy's own checks"), 'failed', error instanceof Error ? error.message : String(error))];
  } finally {
    clearTimeout(timer);
    source.dispose();
  }
}

function check(id: string, title: string, state: DoctorCheck['state'], detail: string): DoctorCheck {
  return { id, title, state, detail };
}
