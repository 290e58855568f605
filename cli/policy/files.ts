/** The options by which commands are given policy files. */
import { isAbsolute, resolve } from 'node:path';
import type { PolicyProblem } from '../../contract/control.ts';
import { type LoadedPolicy, loadPolicy, type PolicyLayer } from '../../proxy/policy/load.ts';
import { readPolicyFile } from '../../proxy/policy/policyFile.ts';
import { type Io, UsageError } from '../command.ts';

export const LAYER_OPTIONS = {
  gateway: { type: 'string' },
  organisation: { type: 'string' },
  user: { type: 'string' },
  workspace: { type: 'string', multiple: true },
  untrusted: { type: 'boolean' },
} as const;

export const LAYER_HELP = `  --gateway FILE        the organisation's policy as a gateway reads it, where \`min\`, \`fresh-login\` and \`escalate\` can be
  --organisation FILE   the organisation's policy
  --user FILE           the user's policy
  --workspace FILE      a workspace's policy; may be given several times
  --untrusted           the workspaces are not trusted`;

export interface LayerOptions {
  readonly gateway?: string | undefined;
  readonly organisation?: string | undefined;
  readonly user?: string | undefined;
  readonly workspace?: readonly string[] | undefined;
  readonly untrusted?: boolean | undefined;
}

export type ReadLayers = { readonly ok: true; readonly layers: readonly PolicyLayer[] } | { readonly ok: false; readonly problems: readonly PolicyProblem[] };

/** Reads the files; a missing one is a problem here, for it was asked for by name. */
async function readLayers(options: LayerOptions, folder: string): Promise<ReadLayers> {
  const trusted = options.untrusted !== true;
  const organisation = options.gateway ?? options.organisation;
  const wanted: { layer: PolicyLayer['layer']; path: string }[] = [
    ...(organisation === undefined ? [] : [{ layer: 'organisation' as const, path: organisation }]),
    ...(options.user === undefined ? [] : [{ layer: 'user' as const, path: options.user }]),
    ...(options.workspace ?? []).map((path) => ({ layer: 'workspace' as const, path })),
  ];
  const layers: PolicyLayer[] = [];
  const problems: PolicyProblem[] = [];
  for (const { layer, path } of wanted) {
    const read = await readPolicyFile(isAbsolute(path) ? path : resolve(folder, path));
    if (read.state === 'read') layers.push({ layer, file: path, text: read.text, trusted });
    else problems.push({ file: path, line: 1, column: 1, message: read.state === 'missing' ? 'There is no such file. Check the name.' : read.why });
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, layers };
}

/** The policy in these files, or everything that is wrong with them, printed. */
export async function loadLayers(options: LayerOptions, folder: string, io: Io): Promise<LoadedPolicy | undefined> {
  if (options.gateway !== undefined && options.organisation !== undefined)
    throw new UsageError('The organisation has one policy: keep --gateway or --organisation.');
  const read = await readLayers(options, folder);
  if (!read.ok) {
    for (const problem of read.problems) io.error(problemLine(problem));
    return undefined;
  }
  const result = loadPolicy(read.layers, { gateway: options.gateway !== undefined });
  for (const warning of result.warnings) io.error(problemLine(warning, 'warning: '));
  if (result.ok) return result.policy;
  for (const problem of result.problems) io.error(problemLine(problem));
  return undefined;
}

export function problemLine({ file, line, column, message }: PolicyProblem, kind = ''): string {
  return `${file}:${line}:${column}: ${kind}${message}`;
}
