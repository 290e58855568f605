import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Detector, isAlnum, isDigit, startsWord } from '../../../proxy/masking/detectors/detector.ts';
import { DETECTORS } from '../../../proxy/masking/detectors/index.ts';
import { BLOCK } from '../../../proxy/masking/placesModule.ts';
import { Scanner } from '../../../proxy/masking/scanner.ts';

/** Numbers that look random and are the same each time. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Where a detector is asked, by what its anchors say and nothing else: slow and plain. */
function asked(detectors: readonly Detector[], text: string, from: number, to: number): string[] {
  const places: string[] = [];
  for (let i = from; i < to; i++) {
    for (const detector of detectors) {
      const { chars = '', literals = [], words = [], digits } = detector.anchors;
      const begins = !isAlnum(text.charCodeAt(i)) || startsWord(text, i);
      const here =
        chars.includes(text.charAt(i)) ||
        (begins && literals.some((literal) => text.startsWith(literal, i))) ||
        (begins && words.some((word) => text.slice(i, i + word.length).toLowerCase() === word.toLowerCase())) ||
        (digits !== undefined && isDigit(text.charCodeAt(i)) && (!isDigit(text.charCodeAt(i - 1)) || startsWord(text, i)) && digitsFrom(text, i) >= digits);
      if (here && (!detector.maybe || detector.maybe(text, i))) places.push(`${i} ${detector.id}`);
    }
  }
  return places;
}

function digitsFrom(text: string, from: number): number {
  let [count, gap, i] = [1, 0, from + 1];
  for (; i < from + 64 && count < 20; i++) {
    const code = text.charCodeAt(i);
    if (isDigit(code)) [count, gap] = [count + 1, 0];
    else if (gap < 6 && (code > 127 || ' -.()/'.includes(text.charAt(i)))) gap++;
    else break;
  }
  return i === from + 64 ? 20 : count;
}

function found(scanner: Scanner, text: string, from: number, to: number): string[] {
  const places: string[] = [];
  scanner.anchors(text, from, to, (detector, at) => {
    places.push(`${at} ${detector.id}`);
    return false;
  });
  return places;
}

const sorted = (places: readonly string[]): string[] => [...new Set(places)].sort();

const LITERALS = DETECTORS.flatMap(({ anchors: { literals = [], words = [] } }) => [...literals, ...words]);
const GLUE = [
  '',
  ' ',
  '-',
  '--',
  '\n',
  '\\n',
  '\\',
  '%',
  '%0A',
  '\\u000a',
  '\\u00',
  '@',
  ':',
  '=',
  '"',
  '.',
  '(',
  '·',
  '‹',
  '•',
  '••••',
  'é',
  '中',
  '😀',
  '\u00a0',
  'x',
  'SK',
  '0',
  '_',
];

function text(pick: (below: number) => number, pieces: number): string {
  let out = '';
  for (let n = 0; n < pieces; n++) {
    const literal = LITERALS[pick(LITERALS.length)] ?? '';
    const kind = pick(8);
    if (kind === 0) out += literal;
    else if (kind === 1) out += literal.toUpperCase();
    else if (kind === 2) out += literal.slice(0, 1 + pick(3));
    else if (kind === 3) out += String(pick(10 ** (1 + pick(9))));
    else if (kind === 4) out += Array.from({ length: 1 + pick(12) }, () => `${pick(100)}${' -.()/·  \t'.charAt(pick(10)).repeat(pick(8))}`).join('');
    else if (kind === 5) out += ['order', 'kettles', 'shipped to', 'Utrecht', 'note: leave', 'key', 'number 12'][pick(7)] ?? '';
    out += GLUE[pick(GLUE.length)] ?? '';
  }
  return out;
}

describe('looking through a text', () => {
  it('asks every detector wherever its anchors say, and nowhere else, whatever stands around', () => {
    const pick = random(7);
    const sets = [DETECTORS, ...DETECTORS.map((one) => [one]), DETECTORS.filter(({ id }) => id === 'card' || id === 'secret')];
    const scanners = sets.map((set) => new Scanner(set));
    for (let n = 0; n < 1_000; n++) {
      const sample = text(pick, 3 + pick(60));
      const which = n % 3 === 0 ? pick(sets.length) : 0;
      assert.deepEqual(
        sorted(found(scanners[which] as Scanner, sample, 0, sample.length)),
        sorted(asked(sets[which] as Detector[], sample, 0, sample.length)),
        JSON.stringify(sample),
      );
    }
  });

  it('asks the same in a piece of a text, which may begin and end anywhere', () => {
    const pick = random(11);
    const scanner = new Scanner(DETECTORS);
    for (let n = 0; n < 400; n++) {
      const sample = text(pick, 30 + pick(60));
      const from = pick(sample.length);
      const to = from + pick(sample.length - from + 1);
      assert.deepEqual(sorted(found(scanner, sample, from, to)), sorted(asked(DETECTORS, sample, from, to)), JSON.stringify([sample, from, to]));
    }
  });

  it('asks about whatever stands under a name that says so, however it is written and wherever', () => {
    const pick = random(19);
    const scanner = new Scanner(DETECTORS);
    const parts = [
      'pass',
      'word',
      'pwd',
      'db_',
      'p.',
      'secret',
      'Token',
      'api',
      '-',
      '_',
      '.',
      'KEY',
      'sig',
      'session',
      'id',
      'Authorization',
      'credential',
      '9',
      'note',
      'é',
    ];
    const between = ['', '', '"', "'] ", '\\"', ' ', '\t', '\n', ')', '`', '  \r\n ', ' '.repeat(16), ' '.repeat(17), '"'.repeat(50), ','];
    for (let n = 0; n < 300; n++) {
      let sample = ' '.repeat(pick(130));
      for (let rows = 2 + pick(8); rows > 0; rows--) {
        sample += parts[pick(parts.length)] ?? '';
        // Some are as long as is looked, or longer.
        sample += pick(4) === 0 ? 'x'.repeat(36 + pick(16)) : (parts[pick(parts.length)] ?? '') + (parts[pick(parts.length)] ?? '');
        sample += between[pick(between.length)] ?? '';
        sample += [':', '=', '://', '=//', ':/', '@', '::'][pick(7)] ?? '';
        sample += between[pick(between.length)] ?? '';
      }
      sample += ' '.repeat(70);
      assert.deepEqual(sorted(found(scanner, sample, 0, sample.length)), sorted(asked(DETECTORS, sample, 0, sample.length)), JSON.stringify(sample));
    }
  });

  it('asks the same where a long text is looked at in blocks, whatever stands across their ends', () => {
    const pick = random(17);
    const scanner = new Scanner(DETECTORS);
    const FILL = ['x', ' ', '4', '中', '\\', '\n'];
    for (let n = 0; n < 60; n++) {
      const middle = text(pick, 20);
      // The middle of it stands across the end of a block.
      const from = pick(100);
      const before = (FILL[n % FILL.length] ?? '').repeat(from + BLOCK - Math.floor(middle.length / 2));
      const sample = before + middle + text(pick, 10);
      const start = before.length - 80;
      const places = found(scanner, sample, from, sample.length).filter((place) => Number.parseInt(place, 10) >= start);
      assert.deepEqual(sorted(places), sorted(asked(DETECTORS, sample, start, sample.length)), JSON.stringify(middle));
    }
  });

  it('takes each character for what it is, before, in and behind whatever begins', () => {
    const scanner = new Scanner(DETECTORS);
    const codes = [...Array.from({ length: 0x180 }, (_, code) => code), 0x2022, 0x4040, 0x7fff, 0x8030, 0x8040, 0xd83d, 0xff20, 0xff31, 0xffff];
    const long = ' '.repeat(70);
    for (const code of codes) {
      const c = String.fromCharCode(code);
      const sample = `${long}${c}${c}@${c}4${c}1${c}1${c}1${c}1${c}1${c}1${c} ${c}eyJ${c}SK${c}SK ${c}4111111${c}NL9${c}NL91${c}-----BEGIN ${c}\\n${c}ghp_\\${c}ghp_%0A${c}a:${c}b=`;
      assert.deepEqual(sorted(found(scanner, sample, 0, sample.length)), sorted(asked(DETECTORS, sample, 0, sample.length)), JSON.stringify(c));
    }
  });

  it('asks from left to right, once, and stops when it is told to', () => {
    const pick = random(13);
    const scanner = new Scanner(DETECTORS);
    for (let n = 0; n < 100; n++) {
      const sample = text(pick, 80);
      const places = found(scanner, sample, 0, sample.length);
      const at = places.map((place) => Number.parseInt(place, 10));
      assert.deepEqual(
        at,
        [...at].sort((a, b) => a - b),
      );
      assert.equal(new Set(places).size, places.length);
    }
    let calls = 0;
    assert.equal(
      scanner.anchors(`${'word '.repeat(50)}a@b.example c@d.example`, 0, 275, () => {
        calls++;
        return true;
      }),
      true,
    );
    assert.equal(calls, 1);
  });
});
