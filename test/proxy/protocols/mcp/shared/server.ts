/** A small MCP server that a test has say whatever it likes, right or wrong; runs as a child process, as real ones do. */
export const SHARED_SERVER = `
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n');
const heard = [];
const hanging = [];
const asked = new Map();
let asks = 0;
const answer = (id, value) => send({ id, result: { content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }] } });
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  heard.push(message);
  const { id, method, params } = message;
  if (method === undefined) { asked.get(id)?.(message); asked.delete(id); return; }
  switch (method) {
    case 'initialize':
      return send({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, logging: {}, prompts: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }, serverInfo: { name: 'shared', version: '1' }, pid: process.pid } });
    case 'tools/list': return send({ id, result: { tools: [{ name: 'do', inputSchema: { type: 'object' } }] } });
    case 'tasks/list': return send({ id, result: { tasks: ['task-a', 'task-b'].map((taskId) => ({ taskId, status: 'working', createdAt: '2026-01-01T00:00:00Z', lastUpdatedAt: '2026-01-01T00:00:00Z', ttl: null })) } });
    case 'tasks/get': return send({ id, result: { taskId: params.taskId, status: 'working', statusMessage: 'of ' + params.taskId, createdAt: '2026-01-01T00:00:00Z', lastUpdatedAt: '2026-01-01T00:00:00Z', ttl: null } });
    case 'tools/call': break;
    default: return id === undefined ? undefined : send({ id, result: {} });
  }
  const args = params.arguments ?? {};
  switch (params.name) {
    case 'pid': return answer(id, String(process.pid));
    case 'heard': return answer(id, heard.filter((one) => args.method === undefined || one.method === args.method));
    case 'ids': return answer(id, { id, token: params._meta?.progressToken ?? null });
    case 'hang': hanging.push({ id, params }); return;
    // Answers what hangs, last first, each with what it was asked.
    case 'release': for (const one of hanging.splice(0).reverse()) answer(one.id, 'held ' + one.params.arguments.mark); return answer(id, 'released');
    case 'progress-of-all':
      for (const one of hanging) send({ method: 'notifications/progress', params: { progressToken: one.params._meta.progressToken, progress: 1, message: 'for ' + one.params.arguments.mark } });
      return answer(id, 'said');
    case 'say': for (const one of args.messages) send(one); return answer(id, 'said');
    case 'task': return send({ id, result: { task: { taskId: args.taskId, status: 'working', createdAt: '2026-01-01T00:00:00Z', lastUpdatedAt: '2026-01-01T00:00:00Z', ttl: null } } });
    case 'ask': {
      const ask = 'ask-' + ++asks;
      asked.set(ask, (reply) => answer(id, reply.result ?? { refused: reply.error.message }));
      return send({ id: ask, method: args.method, params: args.params ?? {} });
    }
    // Leaves a question open, and says nothing of the call.
    case 'ask-and-hang': return send({ id: 'open-question', method: 'elicitation/create', params: { message: 'which?', requestedSchema: { type: 'object', properties: {} } } });
    // It reads nothing meanwhile.
    case 'sleep': Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, args.ms); return answer(id, 'slept');
    case 'size': return answer(id, line.length);
    case 'die': return process.exit(9);
    case 'many': for (let i = 0; i < args.count; i++) send({ method: 'notifications/progress', params: { progressToken: params._meta.progressToken, progress: i } }); return answer(id, 'said');
    default: return answer(id, params);
  }
});
`;
