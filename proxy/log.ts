/** The proxy's log: JSON lines in a private file that is rotated. Never throws: a log that fails must not fail a session. */
import { appendFileSync, chmodSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Problem } from '../contract/problem.ts';
import { Secret } from '../contract/secret.ts';
import type { Log } from './pipeline/engine.ts';

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const KEPT_FILES = 3;
const MAX_LINE_CHARS = 16_384;
const MAX_TEXT_CHARS = 2_048;
const MAX_DEPTH = 4;
const MAX_ITEMS = 50;
/** Fields that carry secrets, or the agents' data: never written, whatever they hold. */
const HIDDEN_KEY =
  /secret|passw|token|auth|bearer|cookie|credential|api[-_]?key|private|proof|nonce|^(payload|params|statement|query|sql|raw|row|rows|value|values|answer|body|args|arguments)$/i;

export interface FileLogOptions {
  readonly maxFileBytes?: number;
  readonly now?: () => number;
}

/** Opens the log file `path` (its folder is created); `.1`, `.2`, … are the older ones. */
export function fileLog(path: string, options: FileLogOptions = {}): Log {
  const maxFileBytes = options.maxFileBytes ?? MAX_FILE_BYTES;
  const now = options.now ?? Date.now;
  let size = 0;
  let ready = false;
  const open = (): void => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size > 0 && process.platform !== 'win32') chmodSync(path, 0o600);
    ready = true;
  };
  const rotate = (): void => {
    for (let i = KEPT_FILES - 1; i >= 1; i--) if (statSync(`${path}.${i}`, { throwIfNoEntry: false })) renameSync(`${path}.${i}`, `${path}.${i + 1}`);
    renameSync(path, `${path}.1`);
    size = 0;
  };
  const write = (level: string, event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    try {
      if (!ready) open();
      const line = `${logLine(now(), level, event, fields)}\n`;
      const bytes = Buffer.byteLength(line);
      if (size > 0 && size + bytes > maxFileBytes) rotate();
      appendFileSync(path, line, { mode: 0o600 });
      size += bytes;
    } catch {
      // A full disk shows in the record, which halts; the log has nowhere left to say so.
    }
  };
  return {
    info: (event, fields) => write('info', event, fields),
    warn: (event, fields) => write('warn', event, fields),
    error: (event, fields) => write('error', event, fields),
  };
}

/** One line without its end; never longer than the cap, always JSON. */
export function logLine(at: number, level: string, event: string, fields: Readonly<Record<string, unknown>>): string {
  const head = { at: new Date(at).toISOString(), level, event: event.slice(0, 100), pid: process.pid };
  const line = JSON.stringify({ ...(safe(fields, 0) as object), ...head });
  return line.length <= MAX_LINE_CHARS ? line : JSON.stringify({ ...head, tooLong: line.length });
}

function safe(value: unknown, depth: number): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return value;
  if (typeof value === 'string') return value.length <= MAX_TEXT_CHARS ? value : `${value.slice(0, MAX_TEXT_CHARS)}… (${value.length} characters)`;
  if (value instanceof Secret) return '[secret]';
  if (value instanceof Error) return safeError(value, depth);
  if (typeof value !== 'object') return typeof value === 'bigint' ? value.toString() : `[${typeof value}]`;
  if (depth >= MAX_DEPTH) return '[…]';
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => safe(item, depth + 1));
  const shown: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value).slice(0, MAX_ITEMS)) {
    const name = key.slice(0, 100);
    Object.defineProperty(shown, name, { enumerable: true, value: HIDDEN_KEY.test(name) ? '[hidden]' : safe(item, depth + 1) });
  }
  return shown;
}

/**
 * Of an error that is not ours only the code and the place are kept: messages of databases and parsers quote the data
 * that upset them.
 */
function safeError(error: Error, depth: number): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  const ours = error instanceof Problem || typeof syscall === 'string';
  const frames = (error.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 12)
    .map((line) => line.trim().slice(0, 300));
  return {
    name: error.name,
    ...(typeof code === 'string' && { code }),
    ...(ours && { message: error.message.slice(0, MAX_TEXT_CHARS) }),
    at: frames,
    ...(error.cause !== undefined && depth < MAX_DEPTH && { cause: safe(error.cause, depth + 1) }),
  };
}
