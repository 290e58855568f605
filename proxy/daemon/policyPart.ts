/** The policy as the host uses it: the files that count, and the language service for the same files in an editor. */
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TextDocumentSyncKind } from 'vscode-languageserver-protocol';
import type { Workspace } from '../../contract/control.ts';
import { Problem } from '../../contract/problem.ts';
import type { LanguageService } from '../control/language.ts';
import { complete, diagnose, hover } from '../policy/language.ts';
import type { PolicyLayer } from '../policy/load.ts';
import type { OrganisationPolicy } from '../policy/organisation.ts';
import { PolicyStore, WORKSPACE_POLICY } from '../policy/watch.ts';
import type { PartEvents, PolicyPart } from './parts.ts';

export interface PolicyPartOptions {
  /** The organisation's file (`COUNTERSIGN_POLICY`), absolute. */
  readonly organisation: string | undefined;
  readonly user: string;
  /** What the team's gateway hands over. */
  readonly gateway: OrganisationPolicy;
}

/** Resolves when the files have been read once. @throws `Problem` `policy-path` where the organisation's path is none. */
export async function startPolicy(
  { organisation, user, gateway }: PolicyPartOptions,
  events: PartEvents,
): Promise<PolicyPart & { readonly language: LanguageService }> {
  if (organisation !== undefined && !isAbsolute(organisation)) {
    throw new Problem('policy-path', `COUNTERSIGN_POLICY is "${organisation.slice(0, 200)}". Write the file's absolute path.`);
  }
  const store = new PolicyStore({ user, signed: gateway, ...(organisation !== undefined && { organisation }) });
  const windows = new Map<string, Workspace>();
  store.onChange(({ policy }) => (policy ? events.policyChanged() : events.changed()));
  await store.start();

  /** A file is judged as the layer that it is; a copy of a policy anywhere else, as the strictest. */
  const layerOf = (uri: string): Pick<PolicyLayer, 'layer' | 'trusted'> => {
    const path = pathOf(uri);
    if (path === undefined) return { layer: 'workspace', trusted: false };
    if (path === organisation) return { layer: 'organisation' };
    if (path === user) return { layer: 'user' };
    const named = [...windows.values()].flatMap(({ folders }) => folders).filter((folder) => join(folder.path, WORKSPACE_POLICY) === path);
    return { layer: 'workspace', trusted: named.length > 0 && named.every(({ trusted }) => trusted) };
  };

  return {
    organisation: gateway,
    current: () => store.current(),
    view: () => store.view(),
    inForce: () => store.inForce(),
    workspace: (window, workspace) => {
      if (workspace.folders.length === 0) windows.delete(window);
      else windows.set(window, workspace);
      return store.workspace(window, workspace);
    },
    signedChanged: () => store.signedChanged(),
    stop: async () => {
      gateway.stop();
      await store.stop();
    },
    language: {
      capabilities: {
        textDocumentSync: { openClose: true, change: TextDocumentSyncKind.Full },
        completionProvider: { triggerCharacters: [' ', ':', '.', '['] },
        hoverProvider: true,
      },
      diagnostics: (text, uri) => diagnose(text, layerOf(uri), gateway.layer()),
      completion: complete,
      hover,
    },
  };
}

function pathOf(uri: string): string | undefined {
  try {
    return fileURLToPath(uri);
  } catch {
    return undefined;
  }
}
