import type { Detector } from './detector.ts';

/** Room for RSA 16384 in PEM with escapes; a longer body is masked as far as this. */
const MAX_KEY = 32_768;
const HEADER = /^-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----/;
/** Base64 with line ends, also escaped (`\n`, `\\n`), header lines of old PEM and PGP, and armour checksums. */
const BODY = new Uint8Array(128);
for (const char of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \t\r\n-:,.') BODY[char.charCodeAt(0)] = 1;

/** PEM and OpenSSH private keys (RFC 7468), PGP private key blocks; without an end marker, all that looks like one. */
export const privateKey: Detector = {
  id: 'private-key',
  title: 'Private key',
  longest: MAX_KEY + 1,
  anchors: { literals: ['-----BEGIN '] },
  scan(text, anchor, found) {
    const header = HEADER.exec(text.slice(anchor, anchor + 96));
    if (!header) return anchor + 96 <= text.length;
    const limit = Math.min(text.length, anchor + MAX_KEY);
    let end = anchor + header[0].length;
    while (end < limit) {
      if (text.charCodeAt(end) === 45 && text.startsWith('-----', end)) {
        // The next key is its own; and a row of headers costs no more than one.
        if (text.startsWith('BEGIN ', end + 5)) break;
        const close = /^-----END [A-Z0-9 ]{1,64}-----/.exec(text.slice(end, end + 96));
        if (close) {
          found(anchor, end + close[0].length);
          return true;
        }
      }
      const code = text.charCodeAt(end);
      if (code > 127 || BODY[code] !== 1) break;
      end++;
    }
    found(anchor, end);
    return end < text.length - 96 || end === anchor + MAX_KEY;
  },
};
