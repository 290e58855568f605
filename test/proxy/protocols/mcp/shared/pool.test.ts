/** One real process, several sessions that write to it as they like: what is one's reaches no other, and can be touched by no other. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Id, JsonObject, Message } from '../../../../../proxy/protocols/mcp/message.ts';
import { SharedProcesses } from '../../../../../proxy/protocols/mcp/shared/pool.ts';
import type { Seat } from '../../../../../proxy/protocols/mcp/shared/seat.ts';
import { ErrorOutput } from '../../../../../proxy/protocols/mcp/upstream/errorOutput.ts';
import { StdioServer } from '../../../../../proxy/protocols/mcp/upstream/stdio.ts';
import { until, within } from '../../../../support/soon.ts';
import { SHARED_SERVER } from './server.ts';

const LINGER_MS = 60;

let pool: SharedProcesses;
let started: StdioServer[];
let logged: string[];

beforeEach(() => {
  started = [];
  logged = [];
  const log = { info: () => {}, warn: (event: string) => void logged.push(event), error: (event: string) => void logged.push(event) };
  pool = new SharedProcesses({
    connection: 'shared',
    log,
    lingerMs: LINGER_MS,
    start: (on) => {
      const server = new StdioServer({
        ...on,
        connection: 'shared',
        command: [process.execPath, '-e', SHARED_SERVER],
        env: {},
        cwd: undefined,
        log,
        output: new ErrorOutput(Date.now, (text) => text),
        scrub: (text) => text,
      });
      started.push(server);
      return server;
    },
  });
});
afterEach(() => pool.stop());

interface Sitting {
  readonly seat: Seat;
  readonly seen: Message[];
  readonly heard: (is: (message: Message) => boolean) => Promise<Message>;
  readonly ask: (id: Id, method: string, params?: JsonObject) => Promise<JsonObject>;
  readonly call: (id: Id, name: string, args?: JsonObject, token?: Id) => Promise<string>;
  readonly ended: Promise<string>;
}

/** A session that has opened, unless it is told not to. */
async function sit({ person = 'ada', open = true, capabilities = {} as JsonObject, version = '2025-11-25' } = {}): Promise<Sitting> {
  const seen: Message[] = [];
  const looking: (() => void)[] = [];
  let over: (why: string) => void = () => {};
  const ended = new Promise<string>((resolve) => {
    over = resolve;
  });
  const seat = pool.seat(person, {
    onMessage: (message) => {
      seen.push(message);
      for (const look of looking.splice(0)) look();
    },
    onExit: over,
  });
  const heard = async (is: (message: Message) => boolean): Promise<Message> => {
    for (;;) {
      const found = seen.find(is);
      if (found) return found;
      await within('a message', new Promise<void>((resolve) => looking.push(resolve)));
    }
  };
  const ask = async (id: Id, method: string, params: JsonObject = {}): Promise<JsonObject> => {
    seat.send({ id, method, params });
    const answer = await heard((message) => message.kind === 'response' && message.id === id);
    assert.ok(answer.kind === 'response');
    return answer.reply as unknown as JsonObject;
  };
  const call = async (id: Id, name: string, args: JsonObject = {}, token?: Id): Promise<string> => {
    const reply = (await ask(id, 'tools/call', { name, arguments: args, ...(token !== undefined && { _meta: { progressToken: token } }) })) as {
      result?: { content: { text: string }[] };
    };
    return reply.result?.content[0]?.text ?? JSON.stringify(reply);
  };
  if (open) {
    const reply = await ask('open', 'initialize', { protocolVersion: version, capabilities, clientInfo: { name: 'seat', version: '1' } });
    assert.ok(reply.result, JSON.stringify(reply));
    seat.send({ method: 'notifications/initialized' });
  }
  return { seat, seen, heard, ask, call, ended };
}

/** Makes a call that the server does not answer, and resolves once it has it. */
async function hang(one: Sitting, id: Id, mark: string, token?: Id): Promise<void> {
  one.seat.send({ id, method: 'tools/call', params: { name: 'hang', arguments: { mark }, ...(token !== undefined && { _meta: { progressToken: token } }) } });
  await one.call(`after ${id}`, 'pid');
}

const notifications = (one: Sitting, method: string) => one.seen.flatMap((m) => (m.kind === 'notification' && m.method === method ? [m.params] : []));
const questions = (one: Sitting) => one.seen.filter((m) => m.kind === 'request');

describe('sessions that share a process', () => {
  it('are served by one, which is initialized once and tells each the same', async () => {
    const [one, two] = await Promise.all([sit(), sit()]);
    assert.equal(started.length, 1);
    assert.equal(await one.call(1, 'pid'), await two.call(1, 'pid'));
    const heard = JSON.parse(await one.call(2, 'heard')) as { method: string }[];
    assert.deepEqual(
      heard.map(({ method }) => method).filter((method) => method.startsWith('initialize') || method === 'notifications/initialized'),
      ['initialize', 'notifications/initialized'],
    );
    // Whoever comes late gets the answer that was kept.
    const three = await sit();
    const [opening] = three.seen;
    assert.deepEqual(opening, one.seen[0]);
  });

  it('may use the same ids: each gets the answer to its own call, in whatever order they come', async () => {
    const [one, two] = [await sit(), await sit()];
    const a = one.call(7, 'hang', { mark: 'one' });
    const b = two.call(7, 'hang', { mark: 'two' });
    await two.call(8, 'pid');
    await two.call(9, 'release');
    assert.equal(await a, 'held one');
    assert.equal(await b, 'held two');
    assert.equal(one.seen.filter((m) => m.kind === 'response' && m.id === 7).length, 1);
  });

  it('cannot cancel a call of another, by its id there or by the one that the server knows', async () => {
    const [one, two] = [await sit(), await sit()];
    const a = one.call(7, 'hang', { mark: 'one' });
    await one.call(8, 'pid');
    for (let id = 0; id < 20; id++) two.seat.send({ method: 'notifications/cancelled', params: { requestId: id } });
    assert.deepEqual(JSON.parse(await two.call(1, 'heard', { method: 'notifications/cancelled' })), []);
    await two.call(2, 'release');
    assert.equal(await a, 'held one');
    // Its own it can: the server hears of it by the id that it knows.
    await hang(two, 7, 'two');
    two.seat.send({ method: 'notifications/cancelled', params: { requestId: 7 } });
    const [cancelled] = JSON.parse(await two.call(3, 'heard', { method: 'notifications/cancelled' })) as [{ params: { requestId: number } }];
    assert.equal(typeof cancelled.params.requestId, 'number');
  });

  it('hear of their own progress alone, under their own tokens, though both gave out the same', async () => {
    const [one, two] = [await sit(), await sit()];
    await hang(one, 7, 'one', 'token');
    await hang(two, 7, 'two', 'token');
    const ids = JSON.parse(await one.call(8, 'ids', {}, 'token')) as { id: number; token: number };
    assert.equal(typeof ids.token, 'number');
    await one.call(9, 'progress-of-all');
    assert.deepEqual(notifications(one, 'notifications/progress'), [{ progressToken: 'token', progress: 1, message: 'for one' }]);
    assert.deepEqual(notifications(two, 'notifications/progress'), [{ progressToken: 'token', progress: 1, message: 'for two' }]);
    // Tokens that nobody gave out, or whose call is over, are nobody's.
    await one.call(10, 'say', {
      messages: ['token', ids.token, 12_345].map((progressToken) => ({ method: 'notifications/progress', params: { progressToken, progress: 2 } })),
    });
    assert.equal(notifications(one, 'notifications/progress').length, 1);
    assert.equal(notifications(two, 'notifications/progress').length, 1);
  });

  it('are asked by the server only while it is clear whose call it is about', async () => {
    const [one, two] = [await sit(), await sit()];
    // One alone has a call running.
    const asking = one.call(1, 'ask', { method: 'elicitation/create', params: { message: 'which?' } });
    const question = await one.heard((m) => m.kind === 'request');
    assert.ok(question.kind === 'request');
    assert.equal(questions(two).length, 0);
    one.seat.send({ id: question.id, result: { action: 'accept', content: { n: 1 } } });
    assert.deepEqual(JSON.parse(await asking), { action: 'accept', content: { n: 1 } });
    // Both have.
    await hang(two, 1, 'two');
    const refused = JSON.parse(await one.call(2, 'ask', { method: 'sampling/createMessage' })) as { refused: string };
    assert.match(refused.refused, /Several clients share this server/);
    assert.equal(questions(one).length, 1);
    assert.equal(questions(two).length, 0);
    assert.ok(logged.includes('mcp.server.unclear'));
    // One that was cancelled may well go on in the server: it is still not clear.
    two.seat.send({ method: 'notifications/cancelled', params: { requestId: 1 } });
    assert.match(await one.call(3, 'ask', { method: 'roots/list' }), /Several clients share this server/);
  });

  it('are not asked about the call of one that has left', async () => {
    const [one, two] = [await sit(), await sit()];
    await hang(two, 1, 'two');
    await two.seat.stop();
    await one.call(1, 'say', { messages: [{ id: 'late', method: 'sampling/createMessage', params: { messages: ['two’s words'] } }] });
    assert.equal(questions(one).length, 0);
    const [answered] = (JSON.parse(await one.call(2, 'heard')) as { id?: Id; error?: { message: string } }[]).filter(({ id }) => id === 'late');
    assert.match(answered?.error?.message ?? '', /Several clients/);
  });

  it('cannot answer a question that another was asked, nor report progress on it', async () => {
    const [one, two] = [await sit(), await sit()];
    const asking = one.call(1, 'ask', { method: 'elicitation/create', params: { message: 'which?', _meta: { progressToken: 'theirs' } } });
    const question = await one.heard((m) => m.kind === 'request');
    assert.ok(question.kind === 'request');
    two.seat.send({ id: question.id, result: { action: 'accept', content: { stolen: true } } });
    two.seat.send({ method: 'notifications/progress', params: { progressToken: 'theirs', progress: 1 } });
    one.seat.send({ method: 'notifications/progress', params: { progressToken: 'theirs', progress: 2 } });
    one.seat.send({ id: question.id, result: { action: 'decline' } });
    assert.deepEqual(JSON.parse(await asking), { action: 'decline' });
    const progress = JSON.parse(await one.call(2, 'heard', { method: 'notifications/progress' })) as { params: { progress: number } }[];
    assert.deepEqual(
      progress.map(({ params }) => params.progress),
      [2],
    );
  });

  it('leave a question behind that is answered for them', async () => {
    const [one, two] = [await sit(), await sit()];
    one.seat.send({ id: 1, method: 'tools/call', params: { name: 'ask-and-hang', arguments: {} } });
    await one.heard((m) => m.kind === 'request');
    await one.seat.stop();
    const answered = (JSON.parse(await two.call(1, 'heard')) as { id?: Id; error?: { message: string } }[]).find(({ id }) => id === 'open-question');
    assert.equal(answered?.error?.message, 'The client has left.');
  });

  it('cannot see, ask about or cancel tasks that another has begun', async () => {
    const [one, two] = [await sit(), await sit()];
    await one.ask(1, 'tools/call', { name: 'task', arguments: { taskId: 'task-a' }, task: {} });
    await two.ask(1, 'tools/call', { name: 'task', arguments: { taskId: 'task-b' }, task: {} });
    for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel', 'tasks/update']) {
      assert.deepEqual(await two.ask(`${method}!`, method, { taskId: 'task-a' }), { error: { code: -32_602, message: 'There is no such task.' } });
    }
    assert.match(JSON.stringify(await one.ask(2, 'tasks/get', { taskId: 'task-a' })), /of task-a/);
    const listed = (await two.ask(3, 'tasks/list')) as unknown as { result: { tasks: { taskId: string }[] } };
    assert.deepEqual(
      listed.result.tasks.map(({ taskId }) => taskId),
      ['task-b'],
    );
    const related = { 'io.modelcontextprotocol/related-task': { taskId: 'task-b' } };
    await hang(one, 4, 'busy');
    await hang(two, 4, 'busy');
    await one.call(5, 'say', {
      messages: [
        { method: 'notifications/tasks/status', params: { taskId: 'task-a', status: 'completed' } },
        { id: 'q', method: 'elicitation/create', params: { message: 'of b', _meta: related } },
      ],
    });
    assert.equal(notifications(one, 'notifications/tasks/status').length, 1);
    assert.equal(notifications(two, 'notifications/tasks/status').length, 0);
    // A question that names its task is clear however many calls there are.
    assert.equal(questions(one).length, 0);
    assert.equal(questions(two).length, 1);
  });

  it('each hear that a list has changed, and of the resources that they watch', async () => {
    const [one, two] = [await sit(), await sit()];
    await one.ask(1, 'resources/subscribe', { uri: 'file:///both' });
    await two.ask(1, 'resources/subscribe', { uri: 'file:///both' });
    await two.ask(2, 'resources/subscribe', { uri: 'file:///two/' });
    const updated = (uri: string) => ({ method: 'notifications/resources/updated', params: { uri } });
    await one.call(3, 'say', {
      messages: [{ method: 'notifications/tools/list_changed' }, updated('file:///both'), updated('file:///two/part'), updated('file:///x')],
    });
    assert.equal(notifications(one, 'notifications/tools/list_changed').length, 1);
    assert.equal(notifications(two, 'notifications/tools/list_changed').length, 1);
    assert.deepEqual(notifications(one, 'notifications/resources/updated'), [{ uri: 'file:///both' }]);
    assert.deepEqual(notifications(two, 'notifications/resources/updated'), [{ uri: 'file:///both' }, { uri: 'file:///two/part' }]);
    // The server is told that a resource is no longer watched once nobody does, also by one that leaves.
    assert.deepEqual(await one.ask(4, 'resources/unsubscribe', { uri: 'file:///both' }), { result: {} });
    assert.deepEqual(JSON.parse(await one.call(5, 'heard', { method: 'resources/unsubscribe' })), []);
    await two.seat.stop();
    const gone = JSON.parse(await one.call(6, 'heard', { method: 'resources/unsubscribe' })) as { params: { uri: string } }[];
    assert.deepEqual(gone.map(({ params }) => params.uri).sort(), ['file:///both', 'file:///two/']);
  });

  it('hear the log of their own calls as far as they asked for; the server is told the most talkative level of all', async () => {
    const [one, two] = [await sit(), await sit()];
    await one.ask(1, 'logging/setLevel', { level: 'warning' });
    await two.ask(1, 'logging/setLevel', { level: 'debug' });
    await one.ask(2, 'logging/setLevel', { level: 'error' });
    const levels = async (): Promise<string[]> =>
      (JSON.parse(await one.call(Math.random().toString(), 'heard', { method: 'logging/setLevel' })) as { params: { level: string } }[]).map(
        (m) => m.params.level,
      );
    assert.deepEqual(await levels(), ['warning', 'debug']);
    const say = { messages: ['debug', 'error'].map((level) => ({ method: 'notifications/message', params: { level, data: level } })) };
    await one.call(3, 'say', say);
    assert.deepEqual(notifications(one, 'notifications/message'), [{ level: 'error', data: 'error' }]);
    assert.deepEqual(notifications(two, 'notifications/message'), [], 'what was logged for one reached the other');
    // While both have calls running it is not told to either.
    await hang(two, 4, 'two');
    await one.call(4, 'say', say);
    assert.equal(notifications(one, 'notifications/message').length, 1);
    assert.equal(notifications(two, 'notifications/message').length, 0);
    await two.seat.stop();
    assert.deepEqual(await levels(), ['warning', 'debug', 'error']);
  });

  it('all learn that their process has died, with the calls that wait; the next to come gets another', async () => {
    const [one, two] = [await sit(), await sit()];
    await hang(one, 1, 'one');
    await hang(two, 1, 'two');
    two.seat.send({ id: 2, method: 'tools/call', params: { name: 'die' } });
    assert.match(await one.ended, /has ended \(exit code 9\)/);
    assert.match(await two.ended, /has ended \(exit code 9\)/);
    const [three, four] = await Promise.all([sit(), sit()]);
    assert.equal(started.length, 2);
    assert.equal(await three.call(1, 'pid'), await four.call(1, 'pid'));
  });

  it('do not wait for one that floods: it has so many calls in the server at once, and the rest wait with us', async () => {
    const [one, two] = [await sit(), await sit()];
    for (let id = 0; id < 900; id++) one.seat.send({ id, method: 'tools/call', params: { name: 'hang', arguments: { mark: `${id}` } } });
    assert.match(await two.call(1, 'pid'), /^\d+$/);
    const calls = (JSON.parse(await two.call(2, 'heard', { method: 'tools/call' })) as { params: { name: string } }[]).filter(
      ({ params }) => params.name === 'hang',
    );
    assert.equal(calls.length, 100);
    // What was never sent is cancelled without a word to the server; what has an answer makes room.
    one.seat.send({ method: 'notifications/cancelled', params: { requestId: 899 } });
    await two.call(3, 'release');
    await one.heard((m) => m.kind === 'response' && m.id === 99);
    await two.call(4, 'pid');
    await two.call(5, 'release');
    await one.heard((m) => m.kind === 'response' && m.id === 199);
    assert.deepEqual(JSON.parse(await two.call(6, 'heard', { method: 'notifications/cancelled' })), []);
  });

  it('take turns with one whose calls are large while the server does not read', async () => {
    const [one, two] = [await sit(), await sit()];
    const x = 'x'.repeat(1024 * 1024);
    const asleep = two.call(1, 'sleep', { ms: 300 });
    const params = { name: 'size', arguments: { x } };
    for (let id = 0; id < 60; id++) one.seat.send({ id, method: 'tools/call', params });
    for (let n = 0; n < 200; n++) one.seat.send({ method: 'notifications/x', params });
    const answered = two.call(2, 'pid');
    assert.equal(await asleep, 'slept');
    assert.match(await answered, /^\d+$/);
    const replies = () => one.seen.filter((m) => m.kind === 'response' && typeof m.id === 'number');
    const refused = () => replies().filter((m) => JSON.stringify(m).includes('does not read'));
    assert.ok(replies().length - refused().length < 30, `${replies().length} of its calls went before the other’s`);
    await until('all replies', () => replies().length >= 60);
    assert.ok(refused().length > 10 && refused().length < 30, String(refused().length));
    // Of notifications only so much as found room.
    const heard = (JSON.parse(await two.call(3, 'heard', { method: 'notifications/x' })) as unknown[]).length;
    assert.ok(heard < 10, String(heard));
  });

  it('are not held up by one that does not take what it is sent', async () => {
    const [one, two] = [await sit(), await sit()];
    one.seat.pause();
    const flood = one.call(1, 'many', { count: 20_000 }, 'token');
    assert.match(await two.call(1, 'pid'), /^\d+$/);
    one.seat.resume();
    assert.equal(await flood, 'said', 'an answer is never dropped');
    assert.ok(notifications(one, 'notifications/progress').length >= 5_000);
    assert.equal(notifications(two, 'notifications/progress').length, 0);
    assert.ok(logged.includes('mcp.server.flood-dropped'));
  });

  it('are of one person, and open alike: others get a process of their own', async () => {
    const one = await sit();
    const pid = await one.call(1, 'pid');
    for (const other of [{ person: 'bob' }, { capabilities: { sampling: {} } }, { version: '2025-06-18' }]) {
      assert.notEqual(await (await sit(other)).call(1, 'pid'), pid);
    }
    // Tasks that a client would keep for the server are not offered: two might give theirs the same name.
    const tasks = await sit({ capabilities: { tasks: { list: {} } } });
    assert.equal(await tasks.call(1, 'pid'), pid);
    const [opened] = JSON.parse(await one.call(2, 'heard', { method: 'initialize' })) as [{ params: { capabilities: object } }];
    assert.deepEqual(opened.params.capabilities, {});
  });

  it('keep their process a while after the last has left, then it is ended', async () => {
    const one = await sit();
    const pid = Number(await one.call(1, 'pid'));
    await one.seat.stop();
    const two = await sit();
    assert.equal(Number(await two.call(1, 'pid')), pid);
    await two.seat.stop();
    await until('the end of the process', () => !started[0]?.running);
    assert.notEqual(Number(await (await sit()).call(1, 'pid')), pid);
  });

  it('get another once what it was started with is no longer so; who sits there goes on', async () => {
    const one = await sit();
    const pid = await one.call(1, 'pid');
    pool.retire();
    const two = await sit();
    assert.notEqual(await two.call(1, 'pid'), pid);
    assert.equal(await one.call(2, 'pid'), pid);
    await one.seat.stop();
    await until('the end of the process', () => !started[0]?.running);
  });

  it('say nothing to a server before it was opened', async () => {
    const early = await sit({ open: false });
    assert.deepEqual(await early.ask(1, 'tools/call', { name: 'pid' }), { error: { code: -32_600, message: 'Initialize first.' } });
    assert.equal(started.length, 0);
  });
});
