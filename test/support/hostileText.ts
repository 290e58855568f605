/** Text that is made to be dear to look through: each shape has some detector begin everywhere, and go on for as long as it can. */

export interface Shape {
  readonly name: string;
  /** Repeated for as long as the text is to be. */
  readonly piece: string;
}

/** What a tool answers on an ordinary day. */
export const ORDINARY: readonly Shape[] = [
  { name: 'prose', piece: 'The order was shipped to Utrecht on Tuesday, with two kettles and a note that says leave it at the door. ' },
  {
    name: 'rows as JSON',
    piece: '{"id": 10442, "name": "Kettle, steel", "price": 39.95, "created": "2026-03-04T10:11:12Z", "tags": ["kitchen", "new"]},\n',
  },
  { name: 'rows with addresses', piece: '{"id": 10442, "name": "Ann Lee", "email": "ann.lee@example.org", "city": "Utrecht", "orders": 12},\n' },
  { name: 'a log', piece: '2026-03-04T10:11:12.482Z INFO  [worker-3] request 8f14e45f done in 182ms status=200 path=/api/v2/orders?page=3\n' },
];

export const HOSTILE: readonly Shape[] = [
  // Digits, and what may stand between them.
  [
    '1 ',
    '4 ',
    '4-',
    '4.',
    '(4)',
    '4',
    '44 ',
    '4444 ',
    '4\u00a0',
    '4      ',
    '4\u200b',
    '4\u200b\u200b\u200b\u200b',
    '4111 1111 1111 1111, ',
    '0.4111111111111112 ',
  ],
  ['415-555-2671 ', '(415) 555-2671', '+1 ', '+(49) 1', '+49 1 2 3 4 5 6 7 8 9 0 1 ', 'call 1 1 1 1 1 1 1 ', '2 2 2 2 phone ', 'phone phone phone 1234567'],
  ['555-12-1234-', 'ssn ssn 123 45 6789', 'DE12 ', 'DE00 0000 ', 'MT12-', '\u0664\u0661', '4111111111111111_'],
  // At-signs, plain and escaped, and escapes.
  [
    '@',
    'a@',
    'é@',
    'a@b.c.d.e.1',
    'a@xn--a.1.',
    `a@${'a.'.repeat(120)}`,
    '%40',
    'a%40',
    '%40a.1',
    '\\u0040',
    'a\\u0040',
    'ann@x.de',
    '%',
    '%20',
    '%34%31',
    '\\n4',
  ],
  // Names and what is said to stand under them.
  [
    'key=',
    'api_key=',
    'secret: ',
    'password=',
    'password=a ',
    "password='",
    'password=\\',
    "password '",
    'pwd=%aaaaaa',
    'pwd={{a',
    'pwd=process.env.',
    'pwd=‹a',
  ],
  ['=', ':', 'a:', '"a":', '://', 'a://b:c', '://x:@', 'bearer ', 'bearer -', `${'a'.repeat(44)}pwd=`],
  // Tokens and keys that never end, and parts of them in each other.
  [
    'eyJ',
    'eyJ-',
    ' eyJ-',
    'eyJ.',
    'eyJaaaaaaaa.',
    'eyJ-eyJ-eyJ-.',
    `${'eyJ-'.repeat(500)}.`,
    'sk-',
    'sk-a ',
    'SG.',
    'sk-ant-xoxb-',
    'SG.glpat-sk-ant-',
    'AKIA ',
    'SK ',
    'ghp_ ',
  ],
  ['-----BEGIN ', '-----BEGIN PRIVATE KEY-----aaa', '-----BEGIN PRIVATE KEY-----\n-----END ', '-'],
  // Our own masks, and letters that look like nothing.
  ['‹', '‹email·1·', '•', '••••1111 ', '😀', '\u200b', 'a', 'a.', '\n', '"', '\\'],
]
  .flat()
  .map((piece) => ({ name: piece.length > 40 ? `${piece.slice(0, 37)}…` : piece, piece }));

/** @param length in UTF-16 units */
export function textOf({ piece }: Shape, length: number): string {
  return piece.repeat(Math.ceil(length / piece.length)).slice(0, length);
}
