/** A small MCP server whose manners a test chooses; runs as a child process of its own, as real ones do. */
export const RUDE_SERVER = `
const { spawn } = require('node:child_process');
const manners = new Set((process.argv[2] ?? '').split(','));
process.stderr.write('starting with card 4111 1111 1111 1111 and ' + (process.env.TOKEN ?? 'no token') + '\\n');
if (manners.has('keys')) process.stderr.write('loading\\n-----BEGIN RSA PRIVATE KEY-----\\n' + 'MIIEpAIBAAKCAQEAcanary\\n'.repeat(12) + '-----END RSA PRIVATE KEY-----\\nloaded\\n');
if (manners.has('exits')) process.exit(3);
if (manners.has('stays')) {
  process.on('SIGTERM', () => {});
  setInterval(() => {}, 1000);
}
let child;
if (manners.has('has-child')) child = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)'], { stdio: 'ignore' });
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n');
if (manners.has('garbage')) process.stdout.write('not json\\n{"jsonrpc":"2.0","id":1,"id":2,"result":{}}\\n\\n[]\\n');
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === 'initialize') return send({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'rude', version: '1' }, future: { kept: true } } });
  if (method === 'tools/list') return send({ id, result: { tools: [{ name: 'do', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true }, future: 1 }] } });
  if (method !== 'tools/call') return id === undefined ? undefined : send({ id, error: { code: -32601, message: 'no', data: { card: '4111 1111 1111 1111', nested: ['kept'] } } });
  const text = (value) => send({ id, result: { content: [{ type: 'text', text: String(value) }] } });
  switch (params.name) {
    case 'env': return text(JSON.stringify(process.env));
    case 'pids': return text(process.pid + ' ' + (child?.pid ?? 0));
    case 'die': return process.exit(9);
    case 'stray': send({ id: 4242, result: { content: [{ type: 'text', text: 'stray' }] } }); return text('right');
    case 'eager':
      send({ method: 'notifications/progress', params: { progressToken: params._meta?.progressToken, progress: 1, message: 'card 4111 1111 1111 1111' } });
      send({ method: 'notifications/progress', params: { progressToken: 'not given out', progress: 2 } });
      send({ method: 'notifications/message', params: { level: 'info', data: { card: '4111 1111 1111 1111' } } });
      text('done');
      return send({ method: 'notifications/progress', params: { progressToken: params._meta?.progressToken, progress: 3 } });
    case 'complain': for (let i = 0; i < params.arguments.count; i++) process.stderr.write('complaint ' + i + '\\n'); return text('complained');
    case 'hang': return undefined;
    case 'big': return text('x'.repeat(params.arguments.size));
    case 'parting': return process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'note for ann@ex.org\\n'.repeat(params.arguments.size) }] } }) + '\\n', () => process.exit(0));
    case 'flood': process.stdout.write('y'.repeat(params.arguments.size)); return undefined;
    case 'line': return text(line);
    case 'many':
      for (let i = 0; i < params.arguments.count; i++) send({ method: 'notifications/message', params: { level: 'info', data: 'n' + i } });
      return text('said');
    default: return text(JSON.stringify(params));
  }
});
`;
