/** The extension under test, and waiting for it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { PROXY_FILE, ProxyFile } from '../../../contract/daemon.ts';
import type { Api } from '../../../extension/main.ts';

export const ID = 'countersign.countersign';
const STEP_MS = 60_000;
const POLL_MS = 50;

export async function api(): Promise<Api> {
  const extension = vscode.extensions.getExtension<Api>(ID);
  assert.ok(extension, 'the extension is loaded');
  return await extension.activate();
}

export async function whenOn(): Promise<Api> {
  const subject = await api();
  await subject.ready;
  await until('the proxy is connected and has named its connections', () => subject.state() === 'on' && (subject.inspect?.()?.connections.length ?? 0) > 0);
  return subject;
}

export async function until<T>(what: string, look: () => T | Promise<T>, ms: number = STEP_MS): Promise<NonNullable<T>> {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

export function proxyFile(): ProxyFile {
  const home = process.env['COUNTERSIGN_HOME'];
  assert.ok(home);
  return ProxyFile.parse(JSON.parse(readFileSync(join(home, PROXY_FILE), 'utf8')));
}
