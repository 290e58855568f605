import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import * as samlify from 'samlify';
import { freePort } from '../../../demo/freePort.ts';
import { Browser, type Visit } from '../browser.ts';
import { rsaCertificate } from '../certificate.ts';
import { type Stage, stage } from '../stage.ts';
import { temporaryFolder } from '../stores.ts';

/** The library wants to be told; the gateway's own validation is what is tested here. */
samlify.setSchemaValidator({ validate: () => Promise.resolve('not validated by the provider') });

interface Assertion {
  readonly subject?: string;
  readonly groups?: readonly string[];
  readonly audience?: string;
  readonly inResponseTo?: string;
  readonly notOnOrAfter?: Date;
  readonly authnInstant?: Date;
  /** Signs with another key. */
  readonly forged?: boolean;
  /** Changes the response before it is signed. */
  readonly shape?: (xml: string) => string;
  /** Changes the response after it was signed. */
  readonly change?: (xml: string) => string;
}

/** A SAML provider whose page posts the response at once. */
class SamlIdp {
  readonly issuer: string;
  readonly entryPoint: string;
  readonly certificate: string;
  next: Assertion = {};
  lastResponse = '';
  lastRelay = '';
  readonly #server: Server;
  readonly #keys: { readonly good: string; readonly other: { readonly key: string; readonly certificate: string } };
  readonly #certificateText: string;
  #acs = '';
  #audience = '';

  readonly port: number;

  constructor(port: number) {
    this.port = port;
    this.issuer = `http://127.0.0.1:${port}/metadata`;
    this.entryPoint = `http://127.0.0.1:${port}/sso`;
    const good = rsaCertificate();
    const other = rsaCertificate();
    this.certificate = join(temporaryFolder(), 'idp.crt');
    writeFileSync(this.certificate, good.certificate);
    this.#certificateText = good.certificate;
    this.#keys = { good: good.key, other };
    this.#server = createServer((request, response) => {
      void this.#answer(new URL(request.url ?? '/', this.entryPoint)).then((html) => response.setHeader('content-type', 'text/html').end(html));
    });
  }

  async start(acs: string, audience: string): Promise<void> {
    this.#acs = acs;
    this.#audience = audience;
    await new Promise<void>((resolve) => this.#server.listen(this.port, '127.0.0.1', resolve));
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(url: URL): Promise<string> {
    const request = inflateRawSync(Buffer.from(url.searchParams.get('SAMLRequest') ?? '', 'base64')).toString();
    const id = /\bID="([^"]+)"/.exec(request)?.[1] ?? '';
    const { forged, change } = this.next;
    const idp = samlify.IdentityProvider({
      entityID: this.issuer,
      privateKey: forged ? this.#keys.other.key : this.#keys.good,
      signingCert: forged ? this.#keys.other.certificate : this.#certificateText,
      requestSignatureAlgorithm: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
      isAssertionEncrypted: false,
      singleSignOnService: [{ Binding: 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect', Location: this.entryPoint }],
      singleLogoutService: [{ Binding: 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect', Location: this.entryPoint }],
      loginResponseTemplate: { context: TEMPLATE, attributes: [] },
    });
    const sp = samlify.ServiceProvider({
      entityID: this.#audience,
      wantAssertionsSigned: true,
      assertionConsumerService: [{ Binding: 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST', Location: this.#acs }],
    });
    const { context } = await idp.createLoginResponse(sp, { extract: { request: { id } } } as never, 'post', {}, {
      customTagReplacement: (template: string) => this.#fill(template, id),
    } as never);
    const xml = Buffer.from(context, 'base64').toString();
    this.lastResponse = Buffer.from(change ? change(xml) : xml).toString('base64');
    this.lastRelay = url.searchParams.get('RelayState') ?? '';
    return `<form method="post" action="${this.#acs}"><input type="hidden" name="SAMLResponse" value="${this.lastResponse}"><input type="hidden" name="RelayState" value="${this.lastRelay}"></form>`;
  }

  #fill(template: string, request: string): { id: string; context: string } {
    const id = `_${randomBytes(16).toString('hex')}`;
    const now = new Date();
    const {
      subject = 'ada@saml.example',
      groups = ['dev'],
      audience = this.#audience,
      inResponseTo = request,
      notOnOrAfter = new Date(now.getTime() + 60_000),
      authnInstant = now,
    } = this.next;
    const values: Record<string, string> = {
      ID: id,
      Assertion: `_${randomBytes(16).toString('hex')}`,
      Now: now.toISOString(),
      Until: notOnOrAfter.toISOString(),
      Instant: authnInstant.toISOString(),
      Issuer: this.issuer,
      Acs: this.#acs,
      Audience: audience,
      Request: inResponseTo,
      Subject: subject,
      Groups: groups.map((group) => `<saml:AttributeValue>${group}</saml:AttributeValue>`).join(''),
    };
    const filled = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '');
    return { id, context: this.next.shape?.(filled) ?? filled };
  }
}

const TEMPLATE = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{ID}" Version="2.0" IssueInstant="{Now}" Destination="{Acs}" InResponseTo="{Request}"><saml:Issuer>{Issuer}</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status><saml:Assertion ID="{Assertion}" Version="2.0" IssueInstant="{Now}"><saml:Issuer>{Issuer}</saml:Issuer><saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">{Subject}</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="{Until}" Recipient="{Acs}" InResponseTo="{Request}"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="{Now}" NotOnOrAfter="{Until}"><saml:AudienceRestriction><saml:Audience>{Audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="{Instant}" SessionIndex="session-1"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement><saml:Attribute Name="displayName"><saml:AttributeValue>Ada of SAML</saml:AttributeValue></saml:Attribute><saml:Attribute Name="groups">{Groups}</saml:Attribute></saml:AttributeStatement></saml:Assertion></samlp:Response>`;

describe('signing in by SAML', () => {
  let on: Stage;
  let idp: SamlIdp;
  before(async () => {
    idp = new SamlIdp(await freePort());
    on = await stage({
      identity: {
        providers: [{ id: 'old', kind: 'saml', title: 'The old one', issuer: idp.issuer, entryPoint: idp.entryPoint, certificate: `file:${idp.certificate}` }],
      },
    });
    await idp.start(`${on.url}/login/old/acs`, `${on.url}/login/old/metadata`);
  });
  after(async () => {
    await on.stop();
    await idp.stop();
  });

  async function signIn(next: Assertion): Promise<{ browser: Browser; page: Visit }> {
    idp.next = next;
    // Bad proofs are counted; the walk over them must not be what is refused.
    await on.gateways[0]!.db.query('DELETE FROM rate_limits');
    const browser = new Browser();
    const posted = await browser.open(`${on.url}/login?return=/v1/me`);
    return { browser, page: await browser.submit(posted, {}) };
  }

  it('brings a login of the gateway’s own, with groups and roles', async () => {
    const { page } = await signIn({});
    assert.equal(page.status, 200, page.text);
    const me = JSON.parse(page.text) as { person: unknown; roles: string[] };
    assert.deepEqual(me.person, { issuer: idp.issuer, subject: 'ada@saml.example', name: 'Ada of SAML', groups: ['dev'] });
    assert.deepEqual(me.roles, ['developer']);
  });

  it('describes itself for the provider', async () => {
    const metadata = await (await fetch(`${on.url}/login/old/metadata`)).text();
    assert.match(metadata, /AssertionConsumerService[^>]*Location="[^"]*\/login\/old\/acs"/);
    assert.match(metadata, /WantAssertionsSigned="true"/);
  });

  const bad: Record<string, Assertion> = {
    'signed with another key': { forged: true },
    'for somebody else': { audience: 'https://other.example' },
    'in answer to nothing of ours': { inResponseTo: '_something-else' },
    'whose time is over': { notOnOrAfter: new Date(Date.now() - 3_600_000) },
    'that was changed after signing': { change: (xml) => xml.replaceAll('ada@saml.example', 'root@saml.example') },
    'whose signature was cut out': { change: (xml) => xml.replace(/<(\w+:)?Signature[^]*<\/(\w+:)?Signature>/, '') },
    'with another assertion wrapped around the signed one': {
      change: (xml) => {
        const signed = /<saml:Assertion[^]*<\/saml:Assertion>/.exec(xml)?.[0] ?? '';
        const evil = signed
          .replace(/<(\w+:)?Signature[^]*<\/(\w+:)?Signature>/, '')
          .replace(/ID="[^"]+"/, 'ID="_evil"')
          .replace('ada@saml.example', 'root@saml.example');
        return xml.replace(signed, `${evil}<samlp:Extensions>${signed}</samlp:Extensions>`);
      },
    },
    'with a comment inside the name': { change: (xml) => xml.replace('ada@saml.example', 'ada@saml.example<!-- x -->.evil') },
  };
  // Somebody else at each sign-in: whoever asks could come back as another and approve it.
  bad['about someone by a name for this once'] = { shape: (xml) => xml.replace('SAML:1.1:nameid-format:emailAddress', 'SAML:2.0:nameid-format:transient') };
  bad['about someone by a longer name than is kept'] = { subject: 'a'.repeat(300) };
  for (const [what, assertion] of Object.entries(bad)) {
    it(`refuses a response ${what}`, async () => {
      const { browser, page } = await signIn(assertion);
      assert.equal(page.status, 400);
      assert.match(page.text, /could not be accepted/);
      assert.equal((await browser.open(`${on.url}/v1/me`)).status, 401);
    });
  }

  it('takes a response once, and only in the browser that asked for it', async () => {
    await signIn({});
    const again = await new Browser().open(`${on.url}/login/old/acs`, {
      method: 'POST',
      body: new URLSearchParams({ SAMLResponse: idp.lastResponse, RelayState: idp.lastRelay }),
    });
    assert.equal(again.status, 400);
    idp.next = {};
    const victim = new Browser();
    const posted = await new Browser().open(`${on.url}/login?return=/v1/me`);
    // The attacker's own response, posted by the victim's browser: it must not sign the victim in as the attacker.
    const page = await victim.submit(posted, {});
    assert.match(page.text, /not begun in this browser/);
    assert.equal((await victim.open(`${on.url}/v1/me`)).status, 401);
  });

  describe('for one approval', () => {
    /** What the page says after a sign-in that had to be made anew. */
    async function fresh(next: Assertion): Promise<string> {
      const [gateway] = on.gateways;
      const { db, sealer } = gateway!;
      await signIn({ groups: ['dba'] });
      const [person] = await db.query<{ id: string }>('SELECT id FROM people WHERE subject = $1', ['ada@saml.example']);
      const approval = `app_${randomBytes(8).toString('hex')}`;
      await db.query(
        `INSERT INTO approvals (id, kind, state, digest, policy_version, connection, requester, question, approvers, quorum, fresh_login, deadline)
         VALUES ($1, 'operation', 'pending', 'x', 'x', 'orders', 'someone', '{}', '[]', 1, true, ms() + 60000)`,
        [approval],
      );
      const sealed = sealer.seal('fresh link', JSON.stringify({ approval, person: person?.id }));
      await db.query("INSERT INTO login_attempts (state_hash, provider, sealed, expires_at) VALUES ($1, 'fresh link', $2, ms() + 60000)", [
        createHash('sha256').update(approval).digest('base64url'),
        sealed,
      ]);
      idp.next = { groups: ['dba'], ...next };
      const browser = new Browser();
      const posted = await browser.open(`${on.url}/fresh-login?ticket=${approval}`);
      return (await browser.submit(posted, {})).text;
    }
    const earlier = new Date(Date.now() - 3_600_000);

    it('counts one that its provider has made just now', async () => {
      assert.match(await fresh({}), /You have signed in again/);
    });
    for (const [what, assertion] of Object.entries<Assertion>({
      earlier: { authnInstant: earlier },
      'at a time that it does not say': { shape: (xml) => xml.replace(/ AuthnInstant="[^"]*"/, '') },
      'at another time than it says besides': {
        shape: (xml) =>
          xml.replace(
            /(<saml:AuthnStatement AuthnInstant=")[^"]*("[^]*<\/saml:AuthnStatement>)/,
            (all, open: string, rest: string) => `${all}${open}${earlier.toISOString()}${rest}`,
          ),
      },
    })) {
      it(`does not count one that was made ${what}`, async () => {
        assert.match(await fresh(assertion), /could not be accepted/);
      });
    }
  });
});
