import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Secret } from '../../../contract/secret.ts';
import { ClientLogins, LOGIN_LIFETIME_MS } from '../../../proxy/identity/clients.ts';
import { osPerson } from '../../../proxy/identity/person.ts';

const HOUR = 60 * 60 * 1000;
const START = Date.UTC(2026, 10, 20, 9, 30);

function logins(secret = 'a'.repeat(64)): { clients: ClientLogins; clock: { time: number } } {
  const clock = { time: START };
  let ids = 0;
  const clients = new ClientLogins({
    secret: new Secret(secret),
    person: { issuer: 'os', subject: 'ada', groups: [] },
    clock: { now: () => clock.time },
    newId: (prefix) => `${prefix}_${ids++}`,
  });
  return { clients, clock };
}

describe('a login for a terminal', () => {
  it('is known, with its password, and names the person and the terminal', () => {
    const { clients } = logins();
    clients.window('w', 'Cursor');
    const { user, password } = clients.issueLogin('w');
    const known = clients.login(user);
    assert.equal(known?.secret.reveal(), password.reveal());
    assert.deepEqual(known?.identity.actor, { person: { issuer: 'os', subject: 'ada', groups: [] }, agent: { kind: 'terminal', name: 'Terminal in Cursor' } });
    assert.equal(known?.identity.surface, 'terminal');
    assert.match(user, /^[a-z0-9.]{1,63}$/, 'fits where PostgreSQL names fit, and holds nothing that a connection string must quote');
    assert.match(password.reveal(), /^[A-Za-z0-9_-]{43}$/);
  });

  it('ends within its lifetime, to the millisecond', () => {
    const { clients, clock } = logins();
    const { user } = clients.issueLogin('w');
    const expiry = Number.parseInt(user.split('.')[2] ?? '', 36);
    assert.ok(expiry > START + LOGIN_LIFETIME_MS - HOUR && expiry <= START + LOGIN_LIFETIME_MS);
    clock.time = expiry - 1;
    assert.ok(clients.login(user));
    clock.time = expiry;
    assert.equal(clients.login(user), undefined);
  });

  it('is the same for a while, so that a terminal opened later shares it', () => {
    const { clients, clock } = logins();
    const first = clients.issueLogin('w').user;
    clock.time += 60_000;
    assert.equal(clients.issueLogin('w').user, first);
    clock.time += HOUR;
    assert.notEqual(clients.issueLogin('w').user, first);
  });

  it('survives a restart with the same start-up secret, and not with another', () => {
    const { user, password } = logins().clients.issueLogin('w');
    assert.equal(logins().clients.login(user)?.secret.reveal(), password.reveal());
    assert.notEqual(logins('b'.repeat(64)).clients.login(user)?.secret.reveal(), password.reveal());
  });

  it('has another password than the same name on another surface, window or day', () => {
    const { clients, clock } = logins();
    const seen = new Set([clients.issueLogin('a').password.reveal(), clients.issueLogin('b').password.reveal(), clients.issueBearer('a').reveal()]);
    clock.time += 24 * HOUR;
    seen.add(clients.issueLogin('a').password.reveal());
    assert.equal(seen.size, 4);
  });

  it('is refused where the name promises more time than any login has', () => {
    const { clients } = logins();
    const [surface, window] = clients.issueLogin('w').user.split('.');
    assert.equal(clients.login(`${surface}.${window}.${(START + LOGIN_LIFETIME_MS + 1).toString(36)}`), undefined);
    assert.equal(clients.login(`${surface}.${window}.zzzzzzzzzz`), undefined);
  });

  it('is refused for every name that is not one of ours', () => {
    const { clients } = logins();
    const { user } = clients.issueLogin('w');
    const names = [
      '',
      'postgres',
      user.toUpperCase(),
      ` ${user}`,
      `${user} `,
      `${user}\0`,
      `${user}\n`,
      user.replace('terminal', 'mcp'),
      user.replace('terminal', 'control'),
      `${user}.x`,
      user.slice(0, -1).concat('!'),
    ];
    for (const name of names) assert.equal(clients.login(name), undefined, JSON.stringify(name));
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (name) => clients.login(name) === undefined));
  });
});

describe('a bearer token', () => {
  it('is known, and names the editor it was handed to', () => {
    const { clients } = logins();
    clients.window('w', 'Visual Studio Code');
    const identity = clients.bearer(clients.issueBearer('w').reveal());
    assert.equal(identity?.surface, 'mcp');
    assert.deepEqual(identity?.actor.agent, { kind: 'vscode-chat', name: 'Visual Studio Code' });
  });

  it('is no login of a database, whole or in part', () => {
    const { clients } = logins();
    const token = clients.issueBearer('w').reveal();
    for (const user of [token, token.slice(0, token.lastIndexOf('.'))]) assert.equal(clients.login(user), undefined, user);
  });

  it('is refused in every other form, and so is a password in its place', () => {
    const { clients, clock } = logins();
    const token = clients.issueBearer('w').reveal();
    const { user, password } = clients.issueLogin('w');
    const [mcp, window, expiry, mac = ''] = token.split('.');
    const later = Number.parseInt(expiry ?? '', 36) + HOUR;
    const forged = [
      '',
      '.',
      `${user}.${password.reveal()}`,
      `${mcp}.${window}.${expiry}.${password.reveal()}`,
      `${mcp}.${window}.${later.toString(36)}.${mac}`,
      `${mcp}.${'0'.repeat(16)}.${expiry}.${mac}`,
      token.replace(mac, mac.toLowerCase()),
      `${token}=`,
      token.repeat(100),
    ];
    for (const wrong of forged) assert.equal(clients.bearer(wrong), undefined, wrong.slice(0, 100));
    fc.assert(
      fc.property(fc.nat(token.length - 1), fc.nat(127), (at, code) => {
        const changed = token.slice(0, at) + String.fromCharCode(code) + token.slice(at + 1);
        return changed === token || clients.bearer(changed) === undefined;
      }),
    );
    clock.time += LOGIN_LIFETIME_MS;
    assert.equal(clients.bearer(token), undefined, 'after its time');
  });
});

describe('a conversation', () => {
  it('is shared by all clients of one surface of one window, and by no others', () => {
    const { clients } = logins();
    const terminal = clients.login(clients.issueLogin('a').user)?.identity.conversation;
    assert.equal(clients.login(clients.issueLogin('a').user)?.identity.conversation, terminal);
    const others = [clients.login(clients.issueLogin('b').user)?.identity.conversation, clients.bearer(clients.issueBearer('a').reveal())?.conversation];
    assert.equal(new Set([terminal, ...others].map((conversation) => conversation?.id)).size, 2, 'a window’s terminals and MCP clients are one conversation');
    assert.equal(others[1], terminal);
  });
});

describe('the person', () => {
  it('is the user that the operating system knows', () => {
    const person = osPerson();
    assert.equal(person.issuer, 'os');
    assert.ok(person.subject.length > 0);
  });
});
