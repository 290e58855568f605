import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { freePort } from '../../../demo/freePort.ts';
import { HttpServer } from '../../../gateway/api/httpServer.ts';
import { loadConfig } from '../../../gateway/config/load.ts';
import { Metrics } from '../../../gateway/metrics.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import { soon } from '../../support/soon.ts';
import { rsaCertificate } from '../certificate.ts';
import { temporaryFolder } from '../stores.ts';

describe('the gateway’s own certificate', () => {
  const folder = temporaryFolder();
  const [certificate, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  const logged: { event: string; fields: Readonly<Record<string, unknown>> }[] = [];
  const say = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => void logged.push({ event, fields });
  const log: Log = { info: say, warn: say, error: say };
  const metrics = new Metrics();
  let port = 0;
  let http: HttpServer;

  const write = (pair: ReturnType<typeof rsaCertificate>): string => {
    writeFileSync(key, pair.key);
    writeFileSync(certificate, pair.certificate);
    return new X509Certificate(pair.certificate).fingerprint256;
  };
  const server = (): HttpServer => {
    const file = join(folder, 'gateway.yaml');
    writeFileSync(
      file,
      JSON.stringify({ version: 1, publicUrl: `https://localhost:${port}`, listen: `127.0.0.1:${port}`, data: folder, tls: { certificate, key } }),
    );
    const loaded = loadConfig(file, {});
    assert.ok(loaded.ok);
    return new HttpServer({ config: loaded.config, log, metrics, metricsToken: undefined, notReady: () => undefined, certificateEveryMs: 20 });
  };
  const dial = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', rejectUnauthorized: false }, () => resolve(socket));
      socket.once('error', reject);
    });
  const shown = async (): Promise<string> => {
    const socket = await dial();
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  };

  before(async () => {
    port = await freePort();
    write(rsaCertificate());
    http = server();
    await http.start();
  });
  after(() => http.stop(0));

  it('is taken up when it is renewed, without a restart and without cutting anyone', async () => {
    const old = await dial();
    let cut = false;
    old.once('close', () => (cut = true));
    const renewed = write(rsaCertificate(Date.now() + 90 * 86_400_000));
    await soon(async () => assert.equal(await shown(), renewed));
    assert.equal(cut, false);
    old.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      old.on('data', (chunk: Buffer) => (text += chunk.toString()));
      old.once('close', () => resolve(text));
    });
    assert.match(answer, /^HTTP\/1.1 200/);
  });

  it('stays the last good one when its file is half written, of another key or gone, and the log says so', async () => {
    const good = await shown();
    const other = rsaCertificate();
    for (const spoil of [
      () => writeFileSync(certificate, '-----BEGIN CERTIFICATE-----\nMIIC'),
      () => writeFileSync(certificate, other.certificate),
      () => rmSync(certificate),
    ]) {
      const before = logged.length;
      spoil();
      await soon(() => assert.ok(logged.slice(before).some(({ event }) => event === 'tls.certificate-not-renewed')));
      assert.equal(await shown(), good);
    }
    const renewed = write(other);
    await soon(async () => assert.equal(await shown(), renewed));
  });

  it('is warned about before and after its end, in the log and the metrics, and renewed the same way', async () => {
    const ends = Math.floor(Date.now() / 1000) * 1000 - 60_000;
    const expired = write(rsaCertificate(ends));
    await soon(async () => assert.equal(await shown(), expired));
    assert.ok(logged.some(({ event, fields }) => event === 'tls.certificate-ends' && fields.expired === true));
    assert.match(metrics.text(), new RegExp(`^countersign_certificate_expires_seconds ${ends / 1000}$`, 'm'));
    const renewed = write(rsaCertificate(Date.now() + 90 * 86_400_000));
    await soon(async () => assert.equal(await shown(), renewed));
  });

  it('has a sentence where it cannot be used at the start', async () => {
    writeFileSync(key, 'no key');
    const broken = server();
    await assert.rejects(broken.start(), {
      code: 'certificate',
      message: /The TLS certificate or its key cannot be used .*Check `tls.certificate` and `tls.key`/,
    });
  });
});
