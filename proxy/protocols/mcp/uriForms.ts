/**
 * Other spellings of a resource's address: without escapes, dots and doubled slashes, as whoever opens it may read it. Policy is asked
 * about each, so that a rule which stops is met by one of them and a rule which allows by all.
 */

/** How often escapes may be escaped. */
const MAX_ROUNDS = 3;

export function otherForms(uri: string): readonly string[] {
  const forms = new Set<string>();
  for (let at = uri, round = 0; round < MAX_ROUNDS; round++) {
    const plain = withoutEscapes(at);
    forms.add(plain);
    for (const form of resolved(plain)) forms.add(form);
    if (plain === at) break;
    at = plain;
  }
  forms.delete(uri);
  // That is no other place.
  forms.delete(`${uri}/`);
  return [...forms];
}

/** Of what means something in a path; what else is escaped stays so. */
function withoutEscapes(text: string): string {
  return text.replace(/%([2-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function resolved(text: string): readonly string[] {
  if (!URL.canParse(text)) return [];
  const url = new URL(text);
  const whole = withoutEscapes(url.href);
  if (!url.pathname.startsWith('/')) return [whole];
  const single = withoutEscapes(`${url.protocol}//${url.host}${url.pathname.replace(/\/{2,}/g, '/')}${url.search}${url.hash}`);
  return [whole, single];
}
