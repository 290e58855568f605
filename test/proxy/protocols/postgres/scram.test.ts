import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Secret } from '../../../../contract/secret.ts';
import { ScramClient, ScramServer } from '../../../../proxy/protocols/postgres/scram.ts';

async function login(server: ScramServer, client: ScramClient): Promise<boolean> {
  const proof = await client.final(await server.first(client.first()));
  const final = server.final(proof);
  if (final === undefined) return false;
  client.verify(final);
  return true;
}

it('lets in who knows the secret, and proves to them that the server knows it too', async () => {
  assert.equal(await login(new ScramServer('ann', new Secret('pässword')), new ScramClient(new Secret('pässword'))), true);
});

it('lets nobody else in, and tells a missing login from a wrong secret by nothing', async () => {
  assert.equal(await login(new ScramServer('ann', new Secret('right')), new ScramClient(new Secret('wrong'))), false);
  assert.equal(await login(new ScramServer('nobody', undefined), new ScramClient(new Secret('wrong'))), false);
  const salts = await Promise.all([1, 2].map(async () => /s=([^,]+)/.exec(await new ScramServer('nobody', undefined).first('n,,n=,r=abc'))?.[1]));
  assert.equal(salts[0], salts[1], 'the same user gets the same salt each time, as a real one would');
});

it('refuses channel binding, a foreign nonce, and a server that cannot prove itself', async () => {
  await assert.rejects(new ScramServer('ann', new Secret('x')).first('p=tls-server-end-point,,n=,r=abc'), { code: 'scram' });
  await assert.rejects(new ScramClient(new Secret('x')).final('r=other,s=c2FsdA==,i=4096'), { code: 'scram' });
  const client = new ScramClient(new Secret('x'));
  await client.final(`r=${/r=(.*)/.exec(client.first())?.[1]}more,s=c2FsdA==,i=4096`);
  assert.throws(() => client.verify('v=AAAA'), { code: 'scram' });
  await assert.rejects(client.final(`r=${/r=(.*)/.exec(client.first())?.[1]}more,s=c2FsdA==,i=2000000000`), { code: 'scram' });
});

it('does not take a proof twice for another exchange', async () => {
  const secret = new Secret('right');
  const client = new ScramClient(secret);
  const proof = await client.final(await new ScramServer('ann', secret).first(client.first()));
  const second = new ScramServer('ann', secret);
  await second.first(client.first());
  assert.equal(second.final(proof), undefined);
});
