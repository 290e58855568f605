/** The page around a panel. Pure: the same page for every panel, and the same tight content security policy. */
import type { Panel } from '../contract/webview.ts';

export interface Page {
  readonly panel: Panel;
  readonly title: string;
  /** BCP 47, as the editor speaks. */
  readonly language: string;
  /** `webview.cspSource`. */
  readonly source: string;
  readonly nonce: string;
  /** Webview address of the panel's module. */
  readonly script: string;
  /** Webview addresses of style sheets; the first holds the codicons. */
  readonly styles: readonly string[];
}

/** 128 bits and more, hex or base64: a nonce that fits in an attribute as it is. */
const NONCE = /^[A-Za-z0-9+/=_-]{22,}$/;

export function webviewHtml(page: Page): string {
  if (!NONCE.test(page.nonce)) throw new Error('a nonce needs 128 random bits');
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${page.nonce}'`,
    `style-src ${page.source}`,
    `font-src ${page.source}`,
    `img-src ${page.source}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const styles = page.styles.map((href, i) => `<link rel="stylesheet" href="${escape(href)}"${i === 0 ? ' id="vscode-codicon-stylesheet"' : ''}>`);
  return `<!DOCTYPE html>
<html lang="${escape(page.language)}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(page.title)}</title>
${styles.join('\n')}
</head>
<body data-panel="${page.panel}">
<script type="module" nonce="${page.nonce}" src="${escape(page.script)}"></script>
</body>
</html>
`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
