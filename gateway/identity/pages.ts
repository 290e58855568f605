/** The few pages of signing in: plain, without script, everything in them escaped. */
import { randomBytes } from 'node:crypto';
import type { Response } from 'express';

export interface PageForm {
  readonly action: string;
  /** Where its answer may lead, besides our own pages. */
  readonly leadsTo?: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly buttons: readonly { readonly name: string; readonly value: string; readonly label: string; readonly main?: boolean }[];
  readonly input?: { readonly name: string; readonly label: string };
}

export interface Page {
  readonly title: string;
  readonly text: readonly string[];
  readonly links?: readonly { readonly href: string; readonly label: string }[];
  readonly form?: PageForm;
}

const STYLE = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:15vh auto;padding:0 1rem}h1{font-size:1.4rem}
a.b,button{display:block;width:100%;box-sizing:border-box;margin:.5rem 0;padding:.7rem 1rem;font:inherit;text-align:center;text-decoration:none;border:1px solid;border-radius:6px;background:transparent;color:inherit;cursor:pointer}
button.m{background:#12332f;color:#fff;border-color:#12332f}input{display:block;width:100%;box-sizing:border-box;padding:.6rem;font:inherit;letter-spacing:.1em;margin:.3rem 0 1rem}
@media (prefers-color-scheme:dark){button.m{background:#2a9d8f;color:#04100e;border-color:#2a9d8f}}
a.b:focus-visible,button:focus-visible,input:focus-visible{outline:3px solid #2a9d8f;outline-offset:2px}`;

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

export function sendPage(response: Response, status: number, page: Page): void {
  const nonce = randomBytes(16).toString('base64');
  response.setHeader(
    'Content-Security-Policy',
    `default-src 'none'; style-src 'nonce-${nonce}'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'${page.form?.leadsTo === undefined ? '' : ` ${page.form.leadsTo}`}`,
  );
  const links = (page.links ?? []).map(({ href, label }) => `<a class="b" href="${escapeHtml(href)}">${escapeHtml(label)}</a>`).join('');
  response
    .status(status)
    .type('html')
    .send(
      `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(page.title)} · Countersign</title><style nonce="${nonce}">${STYLE}</style></head><body><main><h1>${escapeHtml(page.title)}</h1>${page.text.map((line) => `<p>${escapeHtml(line)}</p>`).join('')}${links}${page.form ? formHtml(page.form) : ''}</main></body></html>`,
    );
}

function formHtml({ action, fields, buttons, input }: PageForm): string {
  const hidden = Object.entries(fields).map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`);
  const asked = input
    ? `<label>${escapeHtml(input.label)}<input name="${escapeHtml(input.name)}" autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="20" required></label>`
    : '';
  const shown = buttons.map(
    ({ name, value, label, main }) =>
      `<button${main ? ' class="m"' : ''} name="${escapeHtml(name)}" value="${escapeHtml(value)}">${escapeHtml(label)}</button>`,
  );
  return `<form method="post" action="${escapeHtml(action)}">${hidden.join('')}${asked}${shown.join('')}</form>`;
}
