/** How this window's terminals and agents reach the proxy. Asked for again whenever it may have changed. */
import * as vscode from 'vscode';
import { METHODS, SurfaceAccess } from '../../contract/control.ts';
import type { Model } from '../model.ts';
import type { ProxyLink } from '../proxyLink/link.ts';

export class Access implements vscode.Disposable {
  readonly #link: ProxyLink;
  readonly #model: Model;
  readonly #log: vscode.LogOutputChannel;
  readonly #changed = new vscode.EventEmitter<SurfaceAccess | undefined>();
  readonly #subscription: vscode.Disposable;
  #current: SurfaceAccess | undefined;
  #leftOut: ReadonlySet<string> = new Set();
  #seen = '';
  #turn = 0;

  readonly onDidChange = this.#changed.event;

  constructor(link: ProxyLink, model: Model, log: vscode.LogOutputChannel) {
    this.#link = link;
    this.#model = model;
    this.#log = log;
    this.#subscription = vscode.Disposable.from(
      link.onDidAttach(() => {
        this.#seen = '';
        void this.#load();
      }),
      link.onDidChange((state) => {
        // A short break keeps the addresses: ports are stable, and the proxy is on its way back.
        if (state.kind === 'off' || state.kind === 'failed') this.#set(undefined);
      }),
      model.onDidChange(() => {
        const seen = this.#fingerprint();
        if (seen === this.#seen) return;
        this.#seen = seen;
        void this.#load();
      }),
    );
  }

  get current(): SurfaceAccess | undefined {
    return this.#current;
  }

  /** The MCP servers to offer to this editor's agent: all but those that it finds in a file of its own. */
  get offered(): SurfaceAccess['mcp'] {
    return (this.#current?.mcp ?? []).filter(({ name }) => !this.#leftOut.has(name));
  }

  leaveOut(names: ReadonlySet<string>): void {
    if ([...names].sort().join('\n') === [...this.#leftOut].sort().join('\n')) return;
    this.#leftOut = names;
    this.#changed.fire(this.#current);
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#changed.dispose();
  }

  #fingerprint(): string {
    const { snapshot } = this.#model;
    return snapshot === undefined
      ? ''
      : JSON.stringify([snapshot.proxy.pid, snapshot.policy.version, snapshot.connections.map((c) => [c.name, c.protocol, c.address])]);
  }

  async #load(): Promise<void> {
    if (this.#link.state.kind !== 'on') return;
    const turn = ++this.#turn;
    try {
      const access = await this.#link.request(METHODS.access, {}, SurfaceAccess);
      if (turn === this.#turn && this.#link.state.kind === 'on') this.#set(access);
    } catch (error) {
      this.#log.warn(`asking the proxy how to reach it: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #set(access: SurfaceAccess | undefined): void {
    if (JSON.stringify(access) === JSON.stringify(this.#current)) return;
    this.#current = access;
    this.#changed.fire(access);
  }
}
