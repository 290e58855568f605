/** Offers the proxy's MCP endpoints to Cursor, through the API that it alone has. */
import * as vscode from 'vscode';
import { SETTINGS } from '../ids.ts';
import type { Access } from './access.ts';

interface CursorMcp {
  registerServer(config: { name: string; server: { url: string; headers?: Record<string, string> } }): void;
  unregisterServer(name: string): void;
}

/** The API where this editor has it: its shape is looked at, not believed. */
export function cursorMcp(editor: unknown): CursorMcp | undefined {
  const mcp = property(property(editor, 'cursor'), 'mcp');
  const complete = typeof property(mcp, 'registerServer') === 'function' && typeof property(mcp, 'unregisterServer') === 'function';
  return complete ? (mcp as CursorMcp) : undefined;
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value ? (value as Record<string, unknown>)[name] : undefined;
}

export class CursorServers implements vscode.Disposable {
  readonly #api: CursorMcp;
  readonly #access: Access;
  readonly #log: vscode.LogOutputChannel;
  readonly #registered = new Map<string, string>();
  readonly #subscription: vscode.Disposable;

  constructor(api: CursorMcp, access: Access, log: vscode.LogOutputChannel) {
    this.#api = api;
    this.#access = access;
    this.#log = log;
    this.#subscription = vscode.Disposable.from(
      access.onDidChange(() => this.#apply()),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SETTINGS.mcp)) this.#apply();
      }),
    );
    this.#apply();
  }

  dispose(): void {
    this.#subscription.dispose();
    for (const name of this.#registered.keys()) this.#attempt(() => this.#api.unregisterServer(name));
    this.#registered.clear();
  }

  #apply(): void {
    const on = vscode.workspace.getConfiguration().get(SETTINGS.mcp, true);
    const wanted = new Map((on ? this.#access.offered : []).map((server) => [server.name, server]));
    for (const [name, was] of this.#registered) {
      if (JSON.stringify(wanted.get(name)) === was) continue;
      this.#attempt(() => this.#api.unregisterServer(name));
      this.#registered.delete(name);
    }
    for (const [name, server] of wanted) {
      if (this.#registered.has(name)) continue;
      this.#attempt(() => this.#api.registerServer({ name, server: { url: server.url, headers: server.headers } }));
      this.#registered.set(name, JSON.stringify(server));
    }
  }

  #attempt(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#log.warn(`registering with Cursor: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
