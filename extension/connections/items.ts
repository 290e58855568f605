/** Connections as tree items: what is protected, how it stands and how to reach it. Pure. */
import type { ConnectionView } from '../../contract/control.ts';
import type { Quarantined } from '../../contract/pins.ts';
import { protocolName } from '../../contract/protocolName.ts';
import { ITEM } from '../ids.ts';
import { kindName, oneLine, pinsText } from '../pins/texts.ts';
import type { Translate } from '../translate.ts';

export type ConnectionNode =
  | {
      readonly kind: 'connection';
      readonly id: string;
      readonly label: string;
      readonly description: string;
      readonly tooltip: readonly string[];
      readonly icon: { readonly name: string; readonly color: string | undefined };
      readonly context: string;
      readonly connection: ConnectionView;
      readonly children: readonly ConnectionNode[];
    }
  | {
      readonly kind: 'quarantined';
      readonly id: string;
      readonly label: string;
      readonly description: string;
      readonly tooltip: readonly string[];
      readonly connectionName: string;
      readonly item: Quarantined;
    }
  | {
      readonly kind: 'output';
      readonly id: string;
      readonly label: string;
      readonly description: string;
      readonly tooltip: string;
      readonly connection: ConnectionView;
    }
  | { readonly kind: 'fact'; readonly id: string; readonly label: string; readonly description: string; readonly icon: string };

export function connectionTree(connections: readonly ConnectionView[], t: Translate): ConnectionNode[] {
  return connections.map((connection) => {
    const state = stateText(connection, t);
    const offered = pinsText(connection.pins, t);
    return {
      kind: 'connection',
      id: `connection:${connection.name}`,
      label: connection.name,
      description: describe(connection, state, offered, t),
      tooltip: [
        `${connection.name} — ${state}`,
        ...(connection.problem === undefined ? [] : [connection.problem]),
        ...(connection.address === undefined ? [] : [connection.address]),
        t('login: {0}', connection.credential),
        ...(connection.pins?.trustedOnFirstUse === undefined
          ? []
          : [t('What it offered was accepted on first use, {0}.', new Date(connection.pins.trustedOnFirstUse).toLocaleString())]),
      ],
      icon: icon(connection),
      context: contextOf(connection),
      connection,
      children: [...quarantined(connection, t), ...problem(connection), ...output(connection, t), ...facts(connection, t)],
    };
  });
}

/** A narrow view cuts the end off: what wants a person stands first. */
function describe(connection: ConnectionView, state: string, offered: string | undefined, t: Translate): string {
  const what = [protocolName(connection.protocol), connection.via === 'local' ? t('this machine') : t('gateway')];
  const tools = offered === undefined ? [] : [offered];
  const wanted = connection.pins?.quarantined.some((one) => !one.rejected) === true;
  const line = connection.state === 'ready' ? [...what, state] : [state, ...what];
  return (wanted ? [...tools, ...line] : [...line, ...tools]).join(' · ');
}

function contextOf(connection: ConnectionView): string {
  return `${standing(connection)}${connection.output === true ? ITEM.output : ''}${connection.via === 'gateway' ? ITEM.shared : ''}`;
}

function standing(connection: ConnectionView): string {
  if (connection.state === 'needs-secret') return ITEM.needsSecret;
  if (connection.state === 'needs-sign-in') return ITEM.needsSignIn;
  return connection.signedIn === true ? ITEM.signedIn : ITEM.connection;
}

function stateText(connection: ConnectionView, t: Translate): string {
  switch (connection.state) {
    case 'ready':
      return t('ready');
    case 'starting':
      return t('starting');
    case 'needs-secret':
      return t('needs a secret');
    case 'needs-sign-in':
      return t('needs sign-in');
    case 'failed':
      return t('failed');
  }
}

function icon(connection: ConnectionView): { name: string; color: string | undefined } {
  switch (connection.state) {
    case 'ready':
      return { name: connection.protocol === 'mcp' ? 'plug' : 'database', color: 'testing.iconPassed' };
    case 'starting':
      return { name: 'loading~spin', color: undefined };
    case 'needs-sign-in':
      return { name: 'account', color: 'charts.yellow' };
    case 'needs-secret':
      return { name: 'key', color: 'charts.yellow' };
    case 'failed':
      return { name: 'error', color: 'testing.iconFailed' };
  }
}

function quarantined({ name, pins }: ConnectionView, t: Translate): ConnectionNode[] {
  return (pins?.quarantined ?? []).map((item) => ({
    kind: 'quarantined',
    id: `quarantined:${name}:${item.kind}:${item.name}:${item.hash}`,
    label: oneLine(item.name, 80),
    description: `${kindName(item.kind, t)} · ${item.rejected ? t('rejected') : t('quarantined')}`,
    tooltip: [
      item.rejected ? t('Rejected: no agent can use it. You can still accept it.') : t('Quarantined: no agent can use it until you accept it.'),
      ...item.reasons.map((reason) => `• ${oneLine(reason, 300)}`),
    ],
    connectionName: name,
    item,
  }));
}

function output(connection: ConnectionView, t: Translate): ConnectionNode[] {
  if (connection.output !== true) return [];
  return [
    {
      kind: 'output',
      id: `output:${connection.name}`,
      label: t('What the server wrote'),
      description: '',
      tooltip: t('The last lines that its process wrote to its standard error, with secrets masked. Select it to read them.'),
      connection,
    },
  ];
}

/** What is wrong stands above everything that says how the connection is made. */
function problem({ name, problem: sentence }: ConnectionView): ConnectionNode[] {
  return sentence === undefined ? [] : [{ kind: 'fact', id: `fact:${name}:problem`, label: sentence, description: '', icon: 'warning' }];
}

function facts(connection: ConnectionView, t: Translate): ConnectionNode[] {
  const rows: [string, string, string, string][] = [];
  if (connection.address !== undefined) rows.push(['address', connection.address, t('address'), 'link']);
  rows.push(['credential', connection.credential, t('login'), 'key']);
  for (const [what, mask] of Object.entries(connection.sensitive)) rows.push([`mask:${what}`, what, t('masked: {0}', mask), 'eye-closed']);
  return rows.map(([id, label, description, name]) => ({ kind: 'fact', id: `fact:${connection.name}:${id}`, label, description, icon: name }));
}
