/**
 * Names that look alike: each is brought to a skeleton (after Unicode TR 39), and two names with one skeleton cannot be told
 * apart by whoever reads them. The table holds the letters that are used for it in practice: Cyrillic, Greek, Armenian,
 * Cherokee and other look-alikes of ASCII; compatibility forms (full width, mathematical, circled) are folded by NFKD.
 */
import { stripHidden } from './hidden.ts';

const LOOK_LIKE: Readonly<Record<string, string>> = {
  a: 'аɑαⱥ',
  b: 'Ьƅвβ',
  c: 'сϲⅽᴄ',
  d: 'ԁɗⅾ',
  e: 'еєҽεҿ',
  f: 'ſƒϝ',
  g: 'ɡցǥ',
  h: 'һհн',
  j: 'јϳ',
  k: 'кκ',
  l: 'іιӏɩıⅼǀאᛁl1|!',
  m: 'мⅿ',
  n: 'пոռη',
  o: 'оοօσø0०৹ㅇ',
  p: 'рρ',
  q: 'ԛգ',
  r: 'гᴦ',
  s: 'ѕꜱ',
  t: 'тτ',
  u: 'υսʋ',
  v: 'ѵν',
  w: 'ԝшω',
  x: 'хχ',
  y: 'уүγ',
  z: 'ᴢ',
  '-': '‐‑‒–—−',
  _: 'ˍ',
  '.': '․',
  '/': '⁄∕',
};

const FOLDED: ReadonlyMap<string, string> = new Map(Object.entries(LOOK_LIKE).flatMap(([ascii, others]) => Array.from(others, (other) => [other, ascii])));

export function skeleton(name: string): string {
  const plain = stripHidden(name).normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  let out = '';
  for (const char of plain) out += FOLDED.get(char) ?? (char === 'i' ? 'l' : char);
  return out.replaceAll('rn', 'm').replaceAll('vv', 'w');
}

/** Letters of ASCII beside letters that only look like them. */
export function mixesScripts(name: string): boolean {
  if (!/[A-Za-z]/.test(name)) return false;
  for (const char of name.toLowerCase()) if (char.charCodeAt(0) > 127 && FOLDED.has(char)) return true;
  return false;
}
