import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Page, webviewHtml } from '../../extension/webviewHtml.ts';

const PAGE: Page = {
  panel: 'approvals',
  title: 'Approvals',
  language: 'en',
  source: 'https://*.example',
  nonce: 'A'.repeat(32),
  script: 'https://x.example/approvals.js',
  styles: ['https://x.example/codicon.css'],
};

describe('the page around a panel', () => {
  const html = webviewHtml(PAGE);
  const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? '';

  it('forbids everything that is not named, and names nothing unsafe', () => {
    assert.match(policy, /^default-src 'none'; script-src 'nonce-A{32}'; /);
    assert.doesNotMatch(policy, /unsafe|\*;|script-src[^;]*https/);
    assert.match(policy, /base-uri 'none'; form-action 'none'$/);
  });

  it('says which panel it is and loads one module', () => {
    assert.match(html, /<body data-panel="approvals">/);
    assert.equal([...html.matchAll(/<script/g)].length, 1);
    assert.match(html, /<script type="module" nonce="A{32}" src="https:\/\/x\.example\/approvals\.js">/);
  });

  it('cannot be broken out of by a title or an address', () => {
    const sly = webviewHtml({ ...PAGE, title: '</title><script>x</script>', script: '"><script>y</script>' });
    assert.equal([...sly.matchAll(/<script/g)].length, 1);
  });

  it('refuses a nonce that could be guessed', () => {
    assert.throws(() => webviewHtml({ ...PAGE, nonce: 'tiny' }));
    assert.throws(() => webviewHtml({ ...PAGE, nonce: `${'A'.repeat(32)}" onload="x` }));
  });
});
