/** The organisation's policy as a document to read: the proxy has the text, as the gateway handed it over. */
import * as vscode from 'vscode';
import { METHODS, OrganisationText, type OrganisationView } from '../../contract/control.ts';
import { ORGANISATION_SCHEME } from '../ids.ts';
import type { ProxyLink } from '../proxyLink/link.ts';

/** Names the version: another one is another document. */
export function organisationUri({ file = '' }: OrganisationView): vscode.Uri {
  return vscode.Uri.from({ scheme: ORGANISATION_SCHEME, path: `/${file}.yaml` });
}

export async function organisationText(link: ProxyLink, uri: vscode.Uri): Promise<string> {
  const given = await link.request(METHODS.organisationPolicy, {}, OrganisationText);
  if (given === null || `/${given.file}.yaml` !== uri.path) return `# ${vscode.l10n.t('This version is not in force any more.')}\n`;
  // As it is: rules are named by their lines.
  return given.text;
}
