/** Protected and not protected: connections beside the servers that agents reach past us. Pure. */
import type { ConnectionView } from '../../contract/control.ts';
import { ITEM } from '../ids.ts';
import { summary } from '../mcpServers/definition.ts';
import type { FoundFile, FoundServer } from '../mcpServers/scan.ts';
import type { Translate } from '../translate.ts';
import { type ConnectionNode, connectionTree } from './items.ts';

export type GroupNode =
  | {
      readonly kind: 'group';
      readonly id: string;
      readonly label: string;
      readonly description: string;
      readonly context: string;
      readonly children: readonly TreeNode[];
    }
  | {
      readonly kind: 'server';
      readonly id: string;
      readonly label: string;
      readonly description: string;
      readonly tooltip: readonly string[];
      readonly icon: { readonly name: string; readonly color: string };
      readonly context: string;
    };
export type TreeNode = ConnectionNode | GroupNode;

export interface GroupOptions {
  readonly connections: readonly ConnectionView[];
  readonly files: readonly FoundFile[];
  readonly shortPath: (file: string) => string;
  readonly idOf: (server: FoundServer) => string;
}

/** One list while everything is protected; two as soon as something is not. */
export function groupedTree({ connections, files, shortPath, idOf }: GroupOptions, t: Translate): TreeNode[] {
  const from = Map.groupBy(
    files.flatMap(({ servers }) => servers.filter(({ status }) => status.kind === 'protected')),
    ({ status }) => (status.kind === 'protected' ? status.connection : ''),
  );
  const known = connectionTree(connections, t).map((node) => (node.kind === 'connection' ? withFiles(node, from.get(node.label) ?? [], shortPath, t) : node));
  const open: TreeNode[] = [
    ...files.flatMap(({ servers }) => servers.flatMap((server) => serverNode(server, connections, shortPath, idOf, t))),
    ...files.flatMap((file) => (file.problem === undefined ? [] : [problemNode(file, shortPath, t)])),
  ];
  if (open.length === 0) return known;
  const groups: TreeNode[] = [
    { kind: 'group', id: 'group:unprotected', label: t('Not protected'), description: String(open.length), context: ITEM.unprotectedGroup, children: open },
  ];
  if (known.length > 0)
    groups.unshift({
      kind: 'group',
      id: 'group:protected',
      label: t('Protected'),
      description: String(known.length),
      context: ITEM.protectedGroup,
      children: known,
    });
  return groups;
}

function withFiles(
  node: Extract<ConnectionNode, { kind: 'connection' }>,
  servers: readonly FoundServer[],
  shortPath: (file: string) => string,
  t: Translate,
): ConnectionNode {
  if (servers.length === 0) return node;
  const rows = servers.map(
    ({ source }): ConnectionNode => ({
      kind: 'fact',
      id: `fact:${node.label}:file:${source.file}`,
      label: shortPath(source.file),
      description: t('rewritten for {0}', source.agent),
      icon: 'file-symlink-file',
    }),
  );
  return { ...node, context: `${node.context}${ITEM.rewritten}`, children: [...node.children, ...rows] };
}

function serverNode(
  server: FoundServer,
  connections: readonly ConnectionView[],
  shortPath: (file: string) => string,
  idOf: (server: FoundServer) => string,
  t: Translate,
): TreeNode[] {
  const { source, entry, status } = server;
  const place = t('{0} in {1}', 'MCP', shortPath(source.file));
  const base = { kind: 'server', id: idOf(server), label: entry.name } as const;
  switch (status.kind) {
    case 'protected':
      if (connections.length === 0 || connections.some(({ name }) => name === status.connection)) return [];
      return [
        {
          ...base,
          description: t('its connection is gone · {0}', place),
          tooltip: [
            t(
              'This entry goes to the connection "{0}", which no policy file defines any more. Undo the protection, or put the connection back.',
              status.connection,
            ),
          ],
          icon: { name: 'debug-disconnect', color: 'problemsWarningIcon.foreground' },
          context: ITEM.unclear,
        },
      ];
    case 'unclear':
      return [
        {
          ...base,
          description: t('cannot be protected here · {0}', place),
          tooltip: [status.why, source.file],
          icon: { name: 'question', color: 'problemsWarningIcon.foreground' },
          context: ITEM.unclear,
        },
      ];
    case 'unprotected': {
      const trusted = source.folder?.trusted !== false;
      return [
        {
          ...base,
          description: status.changed ? t('rewritten by something else · {0}', place) : trusted ? place : t('workspace not trusted · {0}', place),
          tooltip: [
            t('What {0} does with this server is not asked about, masked or recorded.', source.agent),
            summary(entry.definition),
            source.file,
            ...(trusted ? [] : [t('Countersign starts nothing that an untrusted workspace names. Trust it first.')]),
          ],
          icon: { name: 'warning', color: status.changed ? 'problemsErrorIcon.foreground' : 'problemsWarningIcon.foreground' },
          context: trusted ? ITEM.unprotected : ITEM.unclear,
        },
      ];
    }
  }
}

function problemNode({ source, problem }: FoundFile, shortPath: (file: string) => string, t: Translate): TreeNode {
  return {
    kind: 'server',
    id: `mcp-file:${source.file}`,
    label: shortPath(source.file),
    description: t('cannot be read'),
    tooltip: [problem ?? '', source.agent],
    icon: { name: 'question', color: 'problemsWarningIcon.foreground' },
    context: ITEM.unclear,
  };
}
