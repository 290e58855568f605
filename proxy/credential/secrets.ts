/** Upstream secrets: from the editor's store (held in memory only), the environment, or a file that only its owner reads. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { Secret } from '../../contract/secret.ts';
import type { SecretRef } from '../policy/policy.ts';

/** Largest secret, in bytes. */
const MAX_SECRET_BYTES = 65_536;
/** How many secrets the editor may hand over. */
const MAX_SECRETS = 1_000;

export type Resolved = { readonly secret: Secret } | { readonly missing: string };

export class Secrets {
  readonly #given = new Map<string, Secret>();
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #changed: (name: string) => void;

  /** @param changed called with the name of a secret that was given, changed or forgotten. */
  constructor(env: Readonly<Record<string, string | undefined>>, changed: (name: string) => void) {
    this.#env = env;
    this.#changed = changed;
  }

  /** What the editor handed over for `secret:<name>`; null forgets it. */
  put(name: string, value: string | null): void {
    const before = this.#given.get(name);
    if (value === null) {
      if (!this.#given.delete(name)) return;
    } else {
      if (before?.reveal() === value) return;
      if (!before && this.#given.size >= MAX_SECRETS) return;
      this.#given.set(name, new Secret(value));
    }
    this.#changed(name);
  }

  /** `ProtocolHost.secret`. */
  get(ref: SecretRef): Secret | undefined {
    const found = this.resolve(ref);
    return 'secret' in found ? found.secret : undefined;
  }

  /** The secret, or in a sentence why there is none and what to do. */
  resolve(ref: SecretRef): Resolved {
    switch (ref.from) {
      case 'secret': {
        const secret = this.#given.get(ref.name);
        return secret ? { secret } : { missing: `The secret "${ref.name}" is not in the editor's store yet. Run "Countersign: Set Secret" and enter it.` };
      }
      case 'env': {
        const value = this.#env[ref.name];
        return value
          ? { secret: new Secret(value) }
          : { missing: `The environment variable ${ref.name} was not set when the proxy started. Set it where the editor is started, then restart the proxy.` };
      }
      case 'file':
        return readSecretFile(ref.name);
    }
  }
}

/** The file is opened once and judged by what was opened, so that it cannot be exchanged in between. */
function readSecretFile(path: string): Resolved {
  let fd: number | undefined;
  try {
    // Not blocking: opening a named pipe would wait for a writer for ever.
    fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stat = fstatSync(fd);
    if (!stat.isFile()) return { missing: `${path} is not a file. Name a file that holds the secret.` };
    if (process.platform !== 'win32') {
      if (stat.uid !== process.getuid?.()) return { missing: `The secret file ${path} belongs to another user and is not read. Make it your own.` };
      if ((stat.mode & 0o077) !== 0) return { missing: `The secret file ${path} can be read by other users and is not used. Run "chmod 600 ${path}".` };
    }
    if (stat.size > MAX_SECRET_BYTES)
      return { missing: `The secret file ${path} is larger than ${MAX_SECRET_BYTES} bytes. Name a file that holds the secret alone.` };
    const buffer = Buffer.alloc(MAX_SECRET_BYTES);
    const length = readSync(fd, buffer, 0, buffer.length, 0);
    const text = buffer.toString('utf8', 0, length).replace(/\r?\n$/, '');
    buffer.fill(0);
    return text === '' ? { missing: `The secret file ${path} is empty. Write the secret into it.` } : { secret: new Secret(text) };
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    return { missing: `The secret file ${path} cannot be read (${code}). Check the path in the policy.` };
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
