import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { deleteSecretFile, MAX_SECRET_FILE_BYTES, readSecretFile } from '../../../extension/secrets/secretFile.ts';

const posix = { skip: process.platform === 'win32' ? 'file modes mean nothing here' : false };

describe('a file of secrets', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-secrets-'));
    file = join(folder, 'secrets.json');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const write = (text: string, mode = 0o600): void => {
    writeFileSync(file, text, { mode });
    chmodSync(file, mode);
  };

  it('is read as names and values, and can be deleted', async () => {
    write('{"orders": "p4ss", "crm.token": "t"}');
    assert.deepEqual(await readSecretFile(file), { orders: 'p4ss', 'crm.token': 't' });
    await deleteSecretFile(file);
    await assert.rejects(readSecretFile(file), { code: 'secret-file', message: /ENOENT/ });
  });

  it('is refused when others could read it', posix, async () => {
    for (const mode of [0o644, 0o640, 0o604, 0o660]) {
      write('{"a": "b"}', mode);
      await assert.rejects(readSecretFile(file), { code: 'secret-file', message: /others on this machine can read it/ });
    }
  });

  it('is refused when it is a link or no plain file', posix, async () => {
    write('{"a": "b"}');
    symlinkSync(file, join(folder, 'link'));
    await assert.rejects(readSecretFile(join(folder, 'link')), { message: /it is a link/ });
    await assert.rejects(readSecretFile(folder), { message: /not a plain file/ });
  });

  it('is refused when it is too large, and read to its last byte when it just fits', async () => {
    const room = MAX_SECRET_FILE_BYTES - '{"a":""}'.length;
    write(`{"a":"b"}${' '.repeat(room - 1)}`);
    assert.deepEqual(await readSecretFile(file), { a: 'b' });
    write(`{"a":"b"}${' '.repeat(room)}`);
    await assert.rejects(readSecretFile(file), { message: /larger than/ });
  });

  it('never has its text quoted in an error', async () => {
    for (const text of ['hunter2 is not json', '["hunter2"]', '{"a": {"b": "hunter2"}}', '{"hunter2 with blanks": "x"}', '{"a": ""}']) {
      write(text);
      await assert.rejects(readSecretFile(file), (error: Error) => {
        assert.doesNotMatch(`${error.message} ${JSON.stringify(error)} ${String(error.cause)}`, /hunter2/);
        return true;
      });
    }
  });
});
