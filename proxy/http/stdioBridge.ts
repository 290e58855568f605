/** `proxy mcp <name>`: carries MCP between a client that only speaks stdio and the loopback server. Decides nothing. */
import type { Readable, Writable } from 'node:stream';
import type { BridgeAccess } from './bridgeAccess.ts';
import { type Access, ByRequest, parse, writeMessage } from './byRequest.ts';
import { headOf } from './lineHead.ts';
import { LinePipe } from './linePipe.ts';
import { LineReader, outlineOf, type Skipped } from './lineReader.ts';
import { type Lines, type Login, openLines } from './openLines.ts';
import { type Incoming, incoming, outgoing, ownInput, ownOutput } from './stdio.ts';

/** Longest message of the client's, in bytes. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
const RETURN = 13;
const NAME = /^[\w~-][\w.~-]{0,199}$/;

export interface Bridge extends Login {
  /** Each is this process's own where it is left out. */
  readonly input?: Readable;
  readonly output?: Writable;
  /** Asks for another login: the one there is has expired, or the proxy was started again. */
  readonly renew?: () => Promise<Login | undefined>;
}

/** Runs the bridge on this process's stdio. Where to and with which token come from the environment, never from arguments. */
export async function runBridge(name: string, env: Readonly<Record<string, string | undefined>> = process.env): Promise<void> {
  const base = env.COUNTERSIGN_MCP_URL;
  const token = env.COUNTERSIGN_MCP_TOKEN;
  if (!base || !token || !NAME.test(name) || !/^http:\/\/127\.0\.0\.1:\d{1,5}\/mcp$/.test(base)) {
    process.exitCode = 1;
    process.stderr.write(
      'Countersign could not be reached: COUNTERSIGN_MCP_URL and COUNTERSIGN_MCP_TOKEN are not set. Open a terminal in an editor with Countersign.\n',
    );
    return;
  }
  await carry({ endpoint: name === 'countersign' ? base : `${base}/${name}`, token });
}

/** The same with a login that was asked for, and can be asked for again. */
export async function carryFor(name: string, access: BridgeAccess, renew: () => Promise<BridgeAccess | undefined>): Promise<void> {
  if (!NAME.test(name)) throw new Error('that is no name of a connection');
  const at = ({ url, token }: BridgeAccess) => ({ endpoint: `${url}/${name}`, token });
  const again = async () => {
    const next = await renew();
    return next && at(next);
  };
  await carry({ ...at(access), renew: again });
}

/** Resolves when the input has ended, every request has been answered and the client has the answers. Rejects where it hears no more. */
export async function carry(bridge: Bridge): Promise<void> {
  const input = bridge.input ? incoming(bridge.input) : ownInput();
  const output = bridge.output ? outgoing(bridge.output) : ownOutput();
  const access: Access = { at: { endpoint: bridge.endpoint, token: bridge.token }, renew: bridge.renew };
  const requests = new ByRequest(access, output);
  let pipe: LinePipe | undefined;
  /** @returns when the next line may come, where that is not now */
  const take = (line: Buffer): Promise<unknown> | undefined => {
    if (line.length === 0 || (line.length === 1 && line[0] === RETURN)) return undefined;
    if (!pipe) return takeFirst(Buffer.from(line));
    const head = headOf(line);
    return head ? pipe.send(line, head.method === undefined ? undefined : head.id, head.method === 'initialize') : refuse();
  };
  /** Before there is a connection for lines, and where there is none. */
  const takeFirst = (line: Buffer): Promise<unknown> | undefined => {
    const message = parse(line.toString());
    if (!message) return refuse();
    if (message.method !== 'initialize' || requests.hasSession) return requests.take(message);
    return openFirst(access).then((lines) => {
      if (!lines) return requests.take(message);
      const options = { output, open: () => openAgain(access), pause: () => input.pause(), resume: () => input.resume() };
      pipe = new LinePipe(options, lines, line, message.id);
      return pipe.send(line, message.id, true);
    });
  };
  const refuse = (): undefined => {
    writeMessage(output, { jsonrpc: '2.0', id: null, error: { code: -32_700, message: 'The message is not JSON-RPC.' } });
    return undefined;
  };
  const tooLong = (skipped: Skipped): void => {
    const error = { code: -32_600, message: `A message may have at most ${MAX_MESSAGE_BYTES} bytes.` };
    writeMessage(output, { jsonrpc: '2.0', id: outlineOf(skipped).id ?? null, error });
  };
  const carried = async (): Promise<void> => {
    await eachLine(input, take, tooLong);
    await pipe?.end();
    await requests.end();
    await output.flushed();
  };
  const unheard = new Promise<never>((_resolve, reject) => output.failed(reject));
  try {
    await Promise.race([carried(), unheard]);
  } finally {
    input.close();
    pipe?.drop();
    requests.drop();
  }
}

/** Takes line after line, each once the one before lets it. Resolves when the last was taken, rejects for one that has no end. */
function eachLine(input: Incoming, take: (line: Buffer) => Promise<unknown> | undefined, tooLong: (skipped: Skipped) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const held: Buffer[] = [];
    /** What the line before waits for. */
    let waiting: Promise<unknown> | undefined;
    let ended = false;
    const go = (line: Buffer): void => {
      if (waiting) return void held.push(Buffer.from(line));
      waiting = take(line);
      if (!waiting) return undefined;
      input.pause();
      return void waiting.then(goOn, reject);
    };
    const goOn = (): void => {
      waiting = undefined;
      const lines = held.splice(0);
      for (const line of lines) go(line);
      if (waiting !== undefined) return;
      if (ended) resolve();
      else input.resume();
    };
    const reader = new LineReader(MAX_MESSAGE_BYTES, go, tooLong);
    input.read(
      (bytes) => {
        if (!reader.write(bytes)) reject(new Error('a message has no end'));
      },
      () => {
        reader.end();
        ended = true;
        if (!waiting) resolve();
      },
      reject,
    );
  });
}

/** Undefined where the proxy takes no lines: then each message is a request of its own. */
async function openFirst(access: Access): Promise<Lines | undefined> {
  const first = await openLines(access.at);
  return first === 'login' ? openAgain(access) : first;
}

async function openAgain(access: Access): Promise<Lines | undefined> {
  const lines = await openLines(access.at);
  if (lines !== undefined && lines !== 'login') return lines;
  const next = await access.renew?.();
  if (!next) return undefined;
  access.at = next;
  const again = await openLines(next);
  return again === 'login' ? undefined : again;
}
