/** The team's gateway in this window: the account in the Accounts menu, its token for the proxy, its questions for the view. */
import * as vscode from 'vscode';
import { z } from 'zod';
import { personLabel } from '../../contract/actor.ts';
import { METHODS, type PutGateway } from '../../contract/control.ts';
import { COMMANDS, CONTEXT, GATEWAY_PROVIDER, SECRET_KEYS, SETTINGS } from '../ids.ts';
import type { Model } from '../model.ts';
import { notify } from '../notify.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { AccessAnswers } from './accessAnswers.ts';
import { tell, turn } from './accessNotices.ts';
import { accountLine, GatewayAccount } from './account.ts';
import { call } from './api.ts';
import { begin, gatewayAddress } from './oauth.ts';
import { SignInUris, signInByBrowser } from './signIn.ts';
import { TeamApprovals } from './team.ts';
import { TeamSessions } from './teamSessions.ts';
import { trusting } from './trust.ts';

const Done = z.unknown();
/**
 * What the session is for. Not nothing: the editor takes back its "Sign in" entry and badge when a session of the scopes that
 * were asked for appears, and a list without any is never found again there.
 */
const SCOPES: readonly string[] = ['team'];

export class GatewayLink implements vscode.AuthenticationProvider, vscode.Disposable {
  readonly account: GatewayAccount;
  readonly team: TeamApprovals;
  readonly sessions: TeamSessions;
  readonly #link: ProxyLink;
  readonly #log: vscode.LogOutputChannel;
  readonly #uris = new SignInUris();
  readonly #sessions = new vscode.EventEmitter<vscode.AuthenticationProviderAuthenticationSessionsChangeEvent>();
  readonly #subscription: vscode.Disposable;
  #shown: vscode.AuthenticationSession | undefined;
  /** What the proxy was given last, as text; undefined: nothing by this window. */
  #given: string | undefined;
  #told: string | undefined;
  /** The gateway that the Accounts menu offers to sign in to. */
  #offered: string | undefined;
  #signingIn: Promise<vscode.AuthenticationSession> | undefined;

  readonly #recorded = new vscode.EventEmitter<void>();

  readonly onDidChangeSessions = this.#sessions.event;
  /** There is more in the gateway's record, or somebody else's is to be seen. */
  readonly onDidRecord = this.#recorded.event;

  constructor({ globalStorageUri, secrets }: vscode.ExtensionContext, link: ProxyLink, model: Model, log: vscode.LogOutputChannel) {
    this.#link = link;
    this.#log = log;
    this.account = new GatewayAccount({
      storage: {
        get: async () => await secrets.get(SECRET_KEYS.gateway),
        store: async (value) => await secrets.store(SECRET_KEYS.gateway, value),
        delete: async () => await secrets.delete(SECRET_KEYS.gateway),
      },
      t: vscode.l10n.t,
      log: (message) => log.info(message),
      changed: () => this.#changed(),
    });
    const { account } = this;
    const warn = (message: string): void => log.warn(message);
    this.team = new TeamApprovals({
      account,
      log: warn,
      changed: () => model.setTeam(this.team.questions),
      heard: () => this.sessions.heard(),
      access: new AccessAnswers({
        folder: vscode.Uri.joinPath(globalStorageUri, 'access-requests').fsPath,
        get: (id) => this.team.get(id),
        turn,
        tell,
        log: warn,
      }),
    });
    this.sessions = new TeamSessions({ account, log: warn, changed: () => this.#recorded.fire() });
    this.#subscription = vscode.Disposable.from(
      vscode.authentication.registerAuthenticationProvider(GATEWAY_PROVIDER, 'Countersign', this, { supportsMultipleAccounts: false }),
      vscode.window.registerUriHandler(this.#uris),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SETTINGS.gatewayUrl) || event.affectsConfiguration(SETTINGS.gatewayCa)) void this.start();
      }),
      secrets.onDidChange((event) => {
        if (event.key === SECRET_KEYS.gateway) void this.account.reload();
      }),
      link.onDidAttach(() => {
        this.#given = undefined;
        void this.#handOver();
      }),
      this.#sessions,
      this.#recorded,
    );
  }

  async start(): Promise<void> {
    const text = setting(SETTINGS.gatewayUrl);
    const url = text === undefined ? undefined : gatewayAddress(text);
    const problem =
      text !== undefined && !url ? vscode.l10n.t('The gateway’s address in the settings cannot be used. Write https://HOST, without a login.') : undefined;
    if (problem !== undefined) this.#log.error(problem);
    await this.account.use(url, { ...(problem !== undefined && { problem }), via: trusting(setting(SETTINGS.gatewayCa)) });
  }

  // ── the Accounts menu ──────────────────────────────────────────────────────────────────────────────────────────────

  getSessions(): Promise<vscode.AuthenticationSession[]> {
    return Promise.resolve(this.#shown ? [this.#shown] : []);
  }

  createSession(): Promise<vscode.AuthenticationSession> {
    // One at a time: the menu, a notification and the palette may all ask for it.
    this.#signingIn ??= this.#signIn().finally(() => {
      this.#signingIn = undefined;
    });
    return this.#signingIn;
  }

  async removeSession(): Promise<void> {
    const sentence = await this.account.signOut();
    if (sentence !== undefined) void notify.warning(sentence);
  }

  async signOut(): Promise<void> {
    const { state } = this.account;
    if (state.kind !== 'signed-in') return;
    const confirm = vscode.l10n.t('Sign Out');
    const picked = await vscode.window.showWarningMessage(
      vscode.l10n.t('Sign out of the gateway at {0}? Shared connections close, and requests of your team are not shown here.', state.url.host),
      { modal: true },
      confirm,
    );
    if (picked === confirm) await this.removeSession();
  }

  dispose(): void {
    this.#subscription.dispose();
    this.team.dispose();
    this.sessions.dispose();
    this.account.dispose();
  }

  async #signIn(): Promise<vscode.AuthenticationSession> {
    const { state } = this.account;
    if (state.kind === 'none')
      throw new Error(state.sentence ?? vscode.l10n.t('No gateway is set. Put its address into the setting {0} first.', SETTINGS.gatewayUrl));
    const tokens = await signInByBrowser(state.url, this.#uris, (redirect) => begin(state.url, redirect, this.account.fetch));
    const { person } = await call('me', { gateway: state.url, token: tokens.access, fetch: this.account.fetch });
    await this.account.signedIn(tokens, person);
    if (!this.#shown) throw new Error(vscode.l10n.t('You were signed out again meanwhile.'));
    return this.#shown;
  }

  #changed(): void {
    const { state } = this.account;
    void vscode.commands.executeCommand('setContext', CONTEXT.gatewaySignedOut, state.kind === 'signed-out');
    void vscode.commands.executeCommand('setContext', CONTEXT.gatewaySignedIn, state.kind === 'signed-in');
    const before = this.#shown;
    // Other extensions may ask for this session. It says who is signed in, and holds no token: nothing but a person's act in our view answers.
    this.#shown =
      state.kind === 'signed-in'
        ? {
            id: `${state.url.href} ${state.person.issuer} ${state.person.subject}`,
            accessToken: 'kept by Countersign',
            account: { id: `${state.person.issuer} ${state.person.subject}`, label: personLabel(state.person) },
            scopes: SCOPES,
          }
        : undefined;
    // Puts "Sign in" into the Accounts menu, and asks nobody.
    if (state.kind === 'signed-out' && this.#offered !== state.url.href)
      void vscode.authentication.getSession(GATEWAY_PROVIDER, SCOPES, { createIfNone: false }).then(undefined, () => undefined);
    this.#offered = state.kind === 'signed-out' ? state.url.href : undefined;
    if (before?.id !== this.#shown?.id) this.#sessions.fire({ added: this.#shown ? [this.#shown] : [], removed: before ? [before] : [], changed: [] });
    this.team.accountChanged();
    this.sessions.accountChanged(this.#shown?.id);
    void this.#handOver();
    this.#tell();
  }

  /** Said once each: that somebody who was signed in is not any more. */
  #tell(): void {
    const { state } = this.account;
    const sentence = state.kind === 'signed-out' ? state.sentence : undefined;
    if (sentence === this.#told) return;
    this.#told = sentence;
    if (sentence === undefined) return;
    const again = vscode.l10n.t('Sign In');
    void notify.warning(sentence, again).then((picked) => picked === again && vscode.commands.executeCommand(COMMANDS.gatewaySignIn));
  }

  /** Gives the proxy what it needs for the tunnel; it keeps it in memory alone. */
  async #handOver(): Promise<void> {
    const { state, token } = this.account;
    const ca = setting(SETTINGS.gatewayCa);
    const give: PutGateway =
      state.kind === 'none' ? null : { url: state.url.href, ...(ca !== undefined && { ca }), token: state.kind === 'signed-in' ? (token ?? null) : null };
    const text = JSON.stringify(give);
    // A window without a gateway takes none away from the others.
    if (this.#link.state.kind !== 'on' || text === this.#given || (give === null && this.#given === undefined)) return;
    this.#given = text;
    try {
      await this.#link.request(METHODS.putGateway, give, Done);
    } catch (error) {
      this.#given = undefined;
      this.#log.warn(`handing the gateway to the proxy: ${error instanceof Error ? error.message : 'failed'}`);
    }
  }
}

/** For Doctor: how it stands, in one line; none where no gateway is set. */
export function gatewayStanding({ account, team }: GatewayLink): { readonly well: boolean; readonly line: string | undefined } {
  const { state } = account;
  const well = state.kind === 'signed-in' && state.problem === undefined && team.problem === undefined;
  return { well, line: team.problem ?? accountLine(state, vscode.l10n.t) };
}

/** A workspace cannot set these: their scope is the machine. */
function setting(id: string): string | undefined {
  const value = vscode.workspace.getConfiguration().get<string>(id)?.trim();
  return value === undefined || value === '' ? undefined : value;
}
