/** One MCP server as a child process: lines of JSON-RPC over its standard streams, its errors to the log and to who looks. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { Problem } from '../../../../contract/problem.ts';
import { LineReader, outlineOf, type Skipped } from '../../../http/lineReader.ts';
import type { Log } from '../../../pipeline/engine.ts';
import { MAX_MESSAGE_CHARS, type Message, parseMessage } from '../message.ts';
import { type ErrorOutput, linesOf } from './errorOutput.ts';
import { inheritedEnvironment, launchable } from './launch.ts';
import type { Channel, ChannelEvents, Outgoing } from './upstream.ts';

/** How long a server may take to leave once its input has closed, and once it was asked to, in milliseconds. */
const LEAVE_MS = 1_000;
const TERMINATE_MS = 2_000;
/** What a server may leave unread before it gets no more, in bytes. */
const MAX_UNREAD_BYTES = 128 * 1024 * 1024;
/** Log lines of one server: longest, and how many a minute. */
const MAX_LOG_LINE = 2_000;
const MAX_LOG_LINES = 600;
const LOG_WINDOW_MS = 60_000;
/** A private key over several lines; one whose end does not come has at most so many. */
const KEY_BEGINS = /-----BEGIN [A-Z0-9 ]{0,64}PRIVATE KEY/;
const KEY_ENDS = /-----END [A-Z0-9 ]{1,64}-----/;
const MAX_KEY_LINES = 200;

export interface StdioOptions extends ChannelEvents {
  readonly connection: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  readonly log: Log;
  /** Where its standard error is kept. */
  readonly output: ErrorOutput;
  /** Masks what goes to the log. */
  readonly scrub: (text: string) => string;
}

export class StdioServer implements Channel {
  readonly #options: StdioOptions;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #gone: Promise<void>;
  #exited = false;
  #stopping: Promise<void> | undefined;

  /** Starts the process. Whether it runs is told by `onExit`. */
  constructor(options: StdioOptions) {
    this.#options = options;
    const { file, args, verbatim } = launchable(options.command);
    this.#child = spawn(file, args, {
      cwd: options.cwd,
      env: { ...inheritedEnvironment(process.env), ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      windowsHide: true,
      windowsVerbatimArguments: verbatim,
      // A group of its own, so that what it starts can be ended with it.
      detached: process.platform !== 'win32',
    });
    let why: string | undefined;
    this.#gone = new Promise((resolve) => {
      const end = (sentence: string, briefly: string): void => {
        why ??= sentence;
        if (this.#exited) return;
        options.output.add(this.pid ?? 0, briefly, 'countersign');
        this.#exited = true;
        this.#killGroup('SIGKILL');
        resolve();
        options.onExit(why);
      };
      this.#child.once('error', (cause: NodeJS.ErrnoException) => {
        const what =
          cause.code === 'ENOENT' ? `"${options.command[0]}" was not found. Install it, or correct the command in countersign.yaml.` : `${cause.message}.`;
        if (this.#child.pid === undefined) end(`The MCP server ${options.connection} could not be started: ${what}`, `could not be started: ${what}`);
      });
      this.#child.once('close', (code, signal) =>
        end(
          `The MCP server ${options.connection} has ended (${signal ?? `exit code ${code}`}); what it wrote may say why.`,
          `ended (${signal ?? `exit code ${code}`})`,
        ),
      );
    });
    this.#child.stdin.on('error', () => {});
    this.#child.stdin.on('drain', () => options.onDrain?.());
    this.#read((sentence) => {
      why = sentence;
      void this.stop();
    });
    this.#keepErrors();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return !this.#exited;
  }

  get unread(): number {
    return this.#child.stdin.writableLength;
  }

  /** It was told to end: that it does is no failure of its own. */
  get stopping(): boolean {
    return this.#stopping !== undefined;
  }

  send(message: Outgoing): void {
    if (this.#exited || !this.#child.stdin.writable) return;
    if (this.#child.stdin.writableLength > MAX_UNREAD_BYTES) {
      const { connection } = this.#options;
      const error = { code: -32_000, message: `The MCP server ${connection} does not read what it is sent. Wait for its answers, or start a new session.` };
      if ('method' in message && 'id' in message) this.#options.onMessage({ kind: 'response', id: message.id, reply: { error } });
      return;
    }
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  pause(): void {
    this.#child.stdout.pause();
  }

  resume(): void {
    this.#child.stdout.resume();
  }

  /** Closes its input, then asks it and all it has started to end, then makes it. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#child.stdout.resume();
    this.#child.stdin.end();
    if (await this.#goneWithin(LEAVE_MS)) return;
    this.#killGroup('SIGTERM');
    if (await this.#goneWithin(TERMINATE_MS)) return;
    this.#killGroup('SIGKILL');
    await this.#gone;
  }

  async #goneWithin(ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    const gone = await Promise.race([this.#gone.then(() => true), late]);
    clearTimeout(timer);
    return gone;
  }

  #killGroup(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    if (process.platform === 'win32') {
      spawn('taskkill', ['/pid', String(pid), '/t', '/f'], { stdio: 'ignore', windowsHide: true }).on('error', () => this.#child.kill());
      return;
    }
    try {
      process.kill(-pid, signal);
    } catch {
      // The group has gone already.
    }
  }

  #read(broken: (sentence: string) => void): void {
    const take = (line: Buffer): void => {
      const text = line.toString();
      if (text.trim() === '') return;
      let message: Message;
      try {
        message = parseMessage(text);
      } catch (cause) {
        // What is not a message is dropped, as the specification asks; what it was is not for the log.
        this.#options.log.warn('mcp.server.malformed', { connection: this.#options.connection, code: cause instanceof Problem ? cause.code : 'unknown' });
        return;
      }
      this.#options.onMessage(message);
    };
    const lines = new LineReader(MAX_MESSAGE_CHARS, take, (skipped) => this.#tooLong(skipped));
    let flooded = false;
    this.#child.stdout.on('data', (chunk: Buffer) => {
      if (flooded || lines.write(chunk)) return;
      flooded = true;
      broken(`The MCP server ${this.#options.connection} sent a message that has no end, and was ended.`);
    });
  }

  /** Whatever it was about is answered; the session goes on. */
  #tooLong(skipped: Skipped): void {
    const { connection, log, onMessage } = this.#options;
    const { id, kind } = outlineOf(skipped);
    const error = {
      code: -32_000,
      message: `The MCP server ${connection} sent a message of more than ${MAX_MESSAGE_CHARS} characters, which was refused. Ask it for less.`,
    };
    log.warn('mcp.server.too-long', { connection, kind });
    if (id === undefined) return;
    if (kind === 'response') onMessage({ kind, id, reply: { error } });
    else if (kind === 'request') this.send({ id, error });
  }

  #keepErrors(): void {
    const { connection, log, output, scrub } = this.#options;
    let lines = 0;
    let windowEnds = 0;
    // None of a key's lines gives itself away.
    let ofKey = 0;
    const read = linesOf((line) => {
      output.add(this.pid ?? 0, line);
      const now = Date.now();
      if (now > windowEnds) {
        windowEnds = now + LOG_WINDOW_MS;
        lines = 0;
      }
      if (KEY_BEGINS.test(line)) ofKey = MAX_KEY_LINES;
      const shown = ofKey > 0 ? '(a line of a private key)' : scrub(line).slice(0, MAX_LOG_LINE);
      ofKey = KEY_ENDS.test(line) ? 0 : Math.max(0, ofKey - 1);
      if (++lines <= MAX_LOG_LINES) log.info('mcp.server.stderr', { connection, line: shown });
      else if (lines === MAX_LOG_LINES + 1) log.warn('mcp.server.stderr-flood', { connection });
    });
    this.#child.stderr.on('data', (chunk: Buffer) => read.write(chunk));
    this.#child.stderr.once('end', () => read.end());
  }
}
