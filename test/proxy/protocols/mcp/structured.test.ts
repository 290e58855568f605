import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/server/validators/ajv';
import * as fc from 'fast-check';
import { createSessionMasking } from '../../../../proxy/masking/masking.ts';
import { maskJson } from '../../../../proxy/protocols/mcp/maskJson.ts';
import type { JsonObject } from '../../../../proxy/protocols/mcp/message.ts';
import type { MaskedReply } from '../../../../proxy/protocols/mcp/outcome.ts';
import { fitToSchema } from '../../../../proxy/protocols/mcp/structured.ts';

const masking = createSessionMasking({
  plan: { columns: new Map(), detectors: new Map([['email', 'partial']]), otherwise: 'redact' },
  hashKey: new Uint8Array(32),
});
const CARD = '4111 1111 1111 1111';
const MAIL = 'ada.lovelace@analytical.example';
const schemaOf = (properties: object, more: object = {}): JsonObject => ({ type: 'object', properties, ...more }) as JsonObject;

function maskedNow(raw: { readonly result: JsonObject }): MaskedReply {
  const { value, ...rest } = maskJson(raw.result, masking);
  return { reply: { result: value }, ...rest };
}

/** As the client gets it: masked, and by another validator than ours still valid; undefined where it is withheld. */
function shown(structuredContent: JsonObject, schema: JsonObject): JsonObject | undefined {
  const raw = { result: { content: [], structuredContent } };
  const reply = fitToSchema(raw, maskedNow(raw), schema);
  if (!reply) return undefined;
  assert.ok('result' in reply);
  const value = reply.result.structuredContent as JsonObject;
  const validate = new AjvJsonSchemaValidator().getValidator(schema as never);
  if (validate(structuredContent).valid) assert.equal(validate(value).valid, true, JSON.stringify(value));
  return value;
}

describe('a mask in a structured answer', () => {
  it('stands as it is where there is room', () => {
    assert.deepEqual(shown({ note: `pay with ${CARD}`, n: 1 }, schemaOf({ note: { type: 'string' }, n: { type: 'integer' } })), {
      note: 'pay with ‹redacted›',
      n: 1,
    });
  });

  const rooms: readonly (readonly [string, object, string])[] = [
    ['an exact length', { type: 'string', minLength: 19, maxLength: 19 }, CARD],
    ['a minimum length', { type: 'string', minLength: 15 }, CARD],
    ['a format', { type: 'string', format: 'email' }, MAIL],
    ['a pattern of digits', { type: 'string', pattern: '^[0-9 ]+$' }, CARD],
    ['a pattern of letters and digits', { type: 'string', pattern: '^[a-z.]+@[a-z.]+$' }, MAIL],
    ['a nullable choice', { anyOf: [{ type: 'string', maxLength: 19 }, { type: 'null' }] }, CARD],
    ['a list of types', { type: ['string', 'null'], pattern: '^[0-9 ]{19}$' }, CARD],
  ];
  for (const [what, schema, value] of rooms) {
    it(`gives way to a stand-in under ${what}`, () => {
      const found = shown({ value }, schemaOf({ value: schema }, { required: ['value'] }))?.value;
      assert.notEqual(found, value);
      assert.doesNotMatch(JSON.stringify(found), /4111|lovelace/);
    });
  }

  it('is found through references, lists and nested objects', () => {
    const schema = schemaOf(
      { people: { type: 'array', items: { $ref: '#/$defs/person' } } },
      { $defs: { person: { type: 'object', properties: { mail: { type: 'string', format: 'email' } }, required: ['mail'] } } },
    );
    assert.deepEqual(shown({ people: [{ mail: MAIL }, { mail: 'bob@ex.example' }] }, schema), {
      people: [{ mail: 'masked@masked.invalid' }, { mail: 'masked@masked.invalid' }],
    });
  });

  it('is no mask where the schema itself lists the value', () => {
    assert.deepEqual(shown({ to: MAIL }, schemaOf({ to: { enum: [MAIL, 'x'] } })), { to: MAIL });
  });

  it('of a number is a number within its bounds', () => {
    const found = shown({ n: 4_111_111_111_111_111 }, schemaOf({ n: { type: 'integer', minimum: 1_000_000 } }, { required: ['n'] }));
    assert.deepEqual(found, { n: 1_000_000 });
  });

  it('has its property left out where nothing fits and nobody asks for it', () => {
    assert.deepEqual(shown({ card: CARD, n: 1 }, schemaOf({ card: { type: 'string', pattern: '^4111 [0-9 ]*1$' }, n: { type: 'integer' } })), { n: 1 });
  });

  it('withholds the answer where nothing fits and the property is required', () => {
    assert.equal(shown({ card: CARD }, schemaOf({ card: { type: 'string', pattern: '^4111 [0-9 ]*1$' } }, { required: ['card'] })), undefined);
  });

  it('never runs a pattern that could hang', () => {
    const started = performance.now();
    const schema = schemaOf({ a: { type: 'string', pattern: '^(a+)+$' }, card: { type: 'string', maxLength: 40, pattern: '^(([0-9 ])+)+$|(x+x+)+y' } });
    shown({ a: `${'a'.repeat(50_000)}!`, card: CARD }, {
      ...schema,
      properties: { ...(schema.properties as JsonObject), a: { type: 'string' } },
    } as JsonObject);
    const raw = { result: { content: [], structuredContent: { a: `${'a'.repeat(5_000)}!`, card: CARD } } };
    fitToSchema(raw, maskedNow(raw), schema);
    assert.ok(performance.now() - started < 20_000, 'it would take hours');
  });

  it('does not follow a schema in circles', () => {
    const schema = { type: 'object', $ref: '#', properties: { card: { $ref: '#/properties/card', type: 'string' } } } as JsonObject;
    const raw = { result: { content: [], structuredContent: { card: CARD } } };
    const reply = fitToSchema(raw, maskedNow(raw), schema);
    assert.doesNotMatch(JSON.stringify(reply ?? null), /4111/);
  });

  it('withholds what cannot be held against its schema in time: one that doubles at every level, a long list of different things', () => {
    const level = (i: number) => ({ allOf: [{ $ref: `#/$defs/d${i}` }, { $ref: `#/$defs/d${i}` }] });
    const doubling = { type: 'object', ...level(0), $defs: Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`d${i}`, i < 39 ? level(i + 1) : {}])) };
    const unique = schemaOf({ card: { type: 'string' }, list: { type: 'array', uniqueItems: true } });
    for (const [schema, list] of [
      [doubling as JsonObject, []],
      [unique, Array.from({ length: 200_000 }, (_, i) => i)],
    ] as const) {
      const raw = { result: { content: [], structuredContent: { card: CARD, list } } };
      const started = performance.now();
      assert.equal(fitToSchema(raw, maskedNow(raw), schema), undefined);
      assert.ok(performance.now() - started < 20_000, 'it would take hours');
    }
  });

  it('takes no word of a schema for one of ours', () => {
    for (const format of ['constructor', 'toString', '__proto__']) {
      const raw = { result: { content: [], structuredContent: { card: CARD } } };
      const reply = fitToSchema(raw, maskedNow(raw), schemaOf({ card: { type: 'string', format } }));
      assert.doesNotMatch(JSON.stringify(reply ?? null), /4111/, format);
    }
  });

  it('leaves alone what it did not touch', () => {
    const raw = { result: { content: [], structuredContent: { a: 'plain' } } };
    assert.equal(fitToSchema(raw, maskedNow(raw), schemaOf({ a: { type: 'integer' } })) !== undefined, true);
  });

  it('is valid and gives nothing away, whatever the constraints', () => {
    const constraint = fc.oneof(
      fc.record({ maxLength: fc.integer({ min: 19, max: 60 }) }),
      fc.record({ minLength: fc.integer({ min: 0, max: 19 }) }),
      fc.constantFrom({ pattern: '^[0-9 ]+$' }, { pattern: '.' }, { format: 'uri' }, {}, { pattern: '^\\S' }),
    );
    fc.assert(
      fc.property(constraint, fc.boolean(), fc.boolean(), (more, required, listed) => {
        const leaf = { type: 'string', ...more };
        const schema = schemaOf({ v: listed ? { type: 'array', items: leaf } : leaf }, required ? { required: ['v'] } : {});
        const found = shown({ v: listed ? [CARD, CARD] : CARD } as JsonObject, schema);
        assert.doesNotMatch(JSON.stringify(found ?? null), /4111/);
      }),
      { numRuns: 100 },
    );
  });
});
