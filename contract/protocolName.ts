/** What people call each protocol; the same words in the editor and in the console. */
const PROTOCOL_NAMES: Readonly<Record<string, string>> = { postgres: 'PostgreSQL', mcp: 'MCP' };

export function protocolName(protocol: string): string {
  return PROTOCOL_NAMES[protocol] ?? protocol;
}
