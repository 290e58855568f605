/** The extension under test, and waiting for it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { ProxyFile } from '../../../contract/daemon.ts';
import { PROXY_FILE } from '../../../contract/proxyFile.ts';
import type { Api } from '../../../extension/main.ts';
import { until } from '../../support/soon.ts';

export const ID = 'countersign.countersign';

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

export function proxyFile(): ProxyFile {
  const home = process.env['COUNTERSIGN_HOME'];
  assert.ok(home);
  return ProxyFile.parse(JSON.parse(readFileSync(join(home, PROXY_FILE), 'utf8')));
}
