/** Secrets of connections: kept in the editor's secret storage, lent to the proxy's memory while it runs. */
import * as vscode from 'vscode';
import { z } from 'zod';
import { METHODS } from '../../contract/control.ts';
import { SECRET_KEYS } from '../ids.ts';
import type { ProxyLink } from '../proxyLink/link.ts';

/** The names are no secret; editors before 1.105 cannot list the storage. */
const NAMES_KEY = 'countersign.secretNames';
const Done = z.unknown();

export class SecretStore implements vscode.Disposable {
  readonly #context: vscode.ExtensionContext;
  readonly #link: ProxyLink;
  readonly #log: vscode.LogOutputChannel;
  readonly #subscription: vscode.Disposable;

  constructor(context: vscode.ExtensionContext, link: ProxyLink, log: vscode.LogOutputChannel) {
    this.#context = context;
    this.#link = link;
    this.#log = log;
    this.#subscription = vscode.Disposable.from(
      link.onDidAttach(() => void this.#pushAll()),
      link.onKeepSecret(
        ({ name, value }) => void (value === null ? this.forget(name) : this.put(name, value)).catch(() => log.error(`could not keep "${name}"`)),
      ),
      // Another window of this profile entered one.
      context.secrets.onDidChange((event) => {
        if (event.key.startsWith(SECRET_KEYS.stored)) void this.#push(event.key.slice(SECRET_KEYS.stored.length));
      }),
    );
  }

  async names(): Promise<string[]> {
    const kept = this.#context.globalState.get<string[]>(NAMES_KEY, []);
    const listed = typeof this.#context.secrets.keys === 'function' ? await this.#context.secrets.keys() : [];
    const stored = listed.filter((key) => key.startsWith(SECRET_KEYS.stored)).map((key) => key.slice(SECRET_KEYS.stored.length));
    return [...new Set([...kept, ...stored])].sort();
  }

  async get(name: string): Promise<string | undefined> {
    return await this.#context.secrets.get(SECRET_KEYS.stored + name);
  }

  async put(name: string, value: string): Promise<void> {
    await this.#context.secrets.store(SECRET_KEYS.stored + name, value);
    await this.#remember([...(await this.names()), name]);
    await this.#push(name);
  }

  async forget(name: string): Promise<void> {
    await this.#context.secrets.delete(SECRET_KEYS.stored + name);
    await this.#remember((await this.names()).filter((other) => other !== name));
    await this.#push(name);
  }

  dispose(): void {
    this.#subscription.dispose();
  }

  async #remember(names: readonly string[]): Promise<void> {
    await this.#context.globalState.update(NAMES_KEY, [...new Set(names)].sort());
  }

  async #pushAll(): Promise<void> {
    for (const name of await this.names()) await this.#push(name);
  }

  async #push(name: string): Promise<void> {
    if (this.#link.state.kind !== 'on') return;
    try {
      const value = await this.#context.secrets.get(SECRET_KEYS.stored + name);
      await this.#link.request(METHODS.putSecret, { name, value: value ?? null }, Done);
    } catch (error) {
      this.#log.warn(`handing secret "${name}" to the proxy: ${error instanceof Error ? error.message : 'failed'}`);
    }
  }
}
