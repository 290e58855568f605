import type { Detector } from './detector.ts';

/** A longer token is masked as far as this; what is cut is inside a signature. */
const MAX_TOKEN = 16_384;

const BASE64URL = new Uint8Array(128);
for (const char of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=') BASE64URL[char.charCodeAt(0)] = 1;

/** Three parts signed (RFC 7519), five encrypted (RFC 7516); `eyJ` is base64url for `{"`. */
export const jwt: Detector = {
  id: 'jwt',
  title: 'Signed token (JWT)',
  longest: MAX_TOKEN + 1,
  anchors: { literals: ['eyJ'] },
  scan(text, anchor, found) {
    const limit = anchor + MAX_TOKEN;
    let dots = 0;
    let end = anchor;
    let part = anchor;
    for (; end < limit; end++) {
      const code = text.charCodeAt(end);
      if (code < 128 && BASE64URL[code] === 1) continue;
      if (code !== 46 || dots === 4) break;
      // Header, and claims or (encrypted, possibly empty) key: a file name or a sentence does not go on like that.
      if (dots === 0 && end - part < 8) return true;
      dots++;
      part = end + 1;
    }
    const decided = end < text.length || end === limit;
    const [, claims = '', signature = '', ...rest] = text.slice(anchor, end).split('.');
    // Claims are an object as well; other content (RFC 7515) is told from a file name by its length.
    if (claims.startsWith('eyJ') || (claims.length >= 16 && signature.length >= 16) || rest.length === 2) {
      while (text.charAt(end - 1) === '.') end--;
      found(anchor, end);
    }
    return decided;
  },
};
