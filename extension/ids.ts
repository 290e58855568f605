/** Every id that the manifest and the code must agree on. `test/extension/manifest.test.ts` holds them together. */

export const COMMANDS = {
  showApprovals: 'countersign.approvals.show',
  filterSessions: 'countersign.sessions.filter',
  clearFilter: 'countersign.sessions.clearFilter',
  refreshSessions: 'countersign.sessions.refresh',
  moreSessions: 'countersign.sessions.more',
  openOperation: 'countersign.session.open',
  copyAddress: 'countersign.connections.copyAddress',
  enterSecret: 'countersign.connections.enterSecret',
  forgetSecret: 'countersign.connections.forgetSecret',
  showOutput: 'countersign.connections.showOutput',
  signIn: 'countersign.connections.signIn',
  signOut: 'countersign.connections.signOut',
  requestAccess: 'countersign.connections.requestAccess',
  gatewaySignIn: 'countersign.gateway.signIn',
  gatewaySignOut: 'countersign.gateway.signOut',
  importSecrets: 'countersign.secrets.importFile',
  protectServer: 'countersign.mcp.protect',
  protectAll: 'countersign.mcp.protectAll',
  undoProtection: 'countersign.mcp.undo',
  undoAllProtection: 'countersign.mcp.undoAll',
  openConfig: 'countersign.mcp.openConfiguration',
  reviewDefinitions: 'countersign.definitions.review',
  acceptDefinitions: 'countersign.definitions.accept',
  rejectDefinitions: 'countersign.definitions.reject',
  openPolicy: 'countersign.policy.open',
  start: 'countersign.proxy.start',
  stop: 'countersign.proxy.stop',
  restart: 'countersign.proxy.restart',
  takeOver: 'countersign.proxy.takeOver',
  verify: 'countersign.record.verify',
  showLog: 'countersign.log.show',
  doctor: 'countersign.doctor.run',
  walkthrough: 'countersign.walkthrough.open',
  toolApproval: 'countersign.agent.reviewToolApproval',
} as const;
export type CommandName = keyof typeof COMMANDS;

export const CONTAINER = 'countersign';
export const VIEWS = { approvals: 'countersign.approvals', sessions: 'countersign.sessions', connections: 'countersign.connections' } as const;
/** Type of the editor-tab panel for one operation. */
export const OPERATION_PANEL = 'countersign.operation';
export const STATUS_ITEM = 'countersign.status';
export const MCP_PROVIDER = 'countersign';
/** Id of the account's kind in the Accounts menu. */
export const GATEWAY_PROVIDER = 'countersign';
export const WALKTHROUGH = 'countersign.start';
/** The organisation's policy, to read. */
export const ORGANISATION_SCHEME = 'countersign-policy';
/** What a server's process wrote. */
export const OUTPUT_SCHEME = 'countersign-output';
export const DOCTOR_SCHEME = 'countersign-doctor';
/** What a server said of something it offers, before and now. */
export const DEFINITION_SCHEME = 'countersign-definition';

/** `setContext` keys, for `when` and `enablement`. */
export const CONTEXT = {
  on: 'countersign.on',
  off: 'countersign.off',
  mayTakeOver: 'countersign.mayTakeOver',
  connected: 'countersign.hasConnections',
  filtered: 'countersign.filtered',
  recorded: 'countersign.hasOperations',
  decided: 'countersign.hasDecided',
  toolApproval: 'countersign.canReviewToolApproval',
  gatewaySignedOut: 'countersign.gatewaySignedOut',
  gatewaySignedIn: 'countersign.gatewaySignedIn',
} as const;

export const SETTINGS = {
  reveal: 'countersign.approvals.reveal',
  notify: 'countersign.approvals.notify',
  terminal: 'countersign.terminal.environment',
  mcp: 'countersign.mcp.register',
  gatewayUrl: 'countersign.gateway.url',
  gatewayCa: 'countersign.gateway.ca',
} as const;

/** `contextValue` of tree items. */
export const ITEM = {
  operation: 'operation',
  connection: 'connection',
  needsSecret: 'connection.needsSecret',
  needsSignIn: 'connection.needsSignIn',
  signedIn: 'connection.signedIn',
  /** Added to a connection's whose process has written something. */
  output: '+output',
  /** Added to a connection's that a gateway shares. */
  shared: '+shared',
  /** Added to a connection's where an agent's configuration was rewritten for it. */
  rewritten: '+rewritten',
  protectedGroup: 'group.protected',
  unprotectedGroup: 'group.unprotected',
  unprotected: 'mcp.unprotected',
  unclear: 'mcp.unclear',
  quarantined: 'quarantined',
} as const;

/** Keys in the editor's secret storage. */
export const SECRET_KEYS = { start: 'countersign.start', power: 'countersign.power', gateway: 'countersign.gateway', stored: 'countersign.secret.' } as const;
