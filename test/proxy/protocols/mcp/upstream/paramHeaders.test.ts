import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeHeaderValue, ParamHeaders } from '../../../../../proxy/protocols/mcp/upstream/paramHeaders.ts';

describe('the headers of a message of the stateless era', () => {
  it('name its method and what it is about', () => {
    const headers = new ParamHeaders();
    assert.deepEqual(headers.of('tools/list', {}), { 'Mcp-Method': 'tools/list' });
    assert.deepEqual(headers.of('resources/read', { uri: 'file:///ä' }), { 'Mcp-Method': 'resources/read', 'Mcp-Name': '=?base64?ZmlsZTovLy/DpA==?=' });
  });

  it('repeat the arguments that the tool declares, as they are now', () => {
    const headers = new ParamHeaders();
    const properties = {
      region: { type: 'string', 'x-mcp-header': 'Region' },
      n: { type: 'integer', 'x-mcp-header': 'N' },
      in: { type: 'object', properties: { deep: { type: 'boolean', 'x-mcp-header': 'Deep' } } },
      bad: { type: 'string', 'x-mcp-header': 'No\r\nWay' },
      plain: { type: 'string' },
    };
    headers.learn({ tools: [{ name: 't', inputSchema: { type: 'object', properties } }] });
    const args = { region: ' us ', n: 42, in: { deep: false }, bad: 'x', plain: 'x' };
    assert.deepEqual(headers.of('tools/call', { name: 't', arguments: args }), {
      'Mcp-Method': 'tools/call',
      'Mcp-Name': 't',
      'Mcp-Param-Region': '=?base64?IHVzIA==?=',
      'Mcp-Param-N': '42',
      'Mcp-Param-Deep': 'false',
    });
    assert.deepEqual(headers.of('tools/call', { name: 't', arguments: { n: null as never } }), { 'Mcp-Method': 'tools/call', 'Mcp-Name': 't' });
  });

  it('hold anything, and nothing breaks out of them', () => {
    for (const text of ['', ' a', 'a\r\nX: y', '世界', '=?base64?x?=', '\u0000']) {
      const value = encodeHeaderValue(text);
      assert.match(value, /^=\?base64\?[A-Za-z0-9+/=]*\?=$/);
      assert.equal(Buffer.from(value.slice(9, -2), 'base64').toString(), text);
    }
    assert.equal(encodeHeaderValue('SELECT * FROM users'), 'SELECT * FROM users');
  });
});
