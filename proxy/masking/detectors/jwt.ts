import { chars } from './chars.ts';
import type { Detector } from './detector.ts';
import { Runs } from './run.ts';

/** A longer token is masked as far as this; what is cut is inside a signature. */
const MAX_TOKEN = 16_384;
/** An encrypted token has most parts: so many dots. */
const MAX_DOTS = 4;
const DOT = 46;

const BASE64URL = chars(/[A-Za-z0-9_=-]/);
const runs = new Runs();
/** Where the parts of the token that is looked at begin and end; good until the next is. */
const starts = new Int32Array(MAX_DOTS + 1);
const ends = new Int32Array(MAX_DOTS + 1);

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
    for (;;) {
      starts[dots] = end;
      end = runs.end(text, end, BASE64URL, limit - end);
      ends[dots] = end;
      if (end === limit || dots === MAX_DOTS || text.charCodeAt(end) !== DOT) break;
      // Header, and claims or (encrypted, possibly empty) key: a file name or a sentence does not go on like that.
      if (dots === 0 && end - anchor < 8) return true;
      dots++;
      end++;
    }
    const decided = end < text.length || end === limit;
    const claims = dots >= 1 ? (ends[1] as number) - (starts[1] as number) : 0;
    const signature = dots >= 2 ? (ends[2] as number) - (starts[2] as number) : 0;
    // Claims are an object as well; other content (RFC 7515) is told from a file name by its length.
    if ((claims >= 3 && text.startsWith('eyJ', starts[1])) || (claims >= 16 && signature >= 16) || dots === MAX_DOTS) {
      while (text.charCodeAt(end - 1) === DOT) end--;
      found(anchor, end);
    }
    return decided;
  },
};
