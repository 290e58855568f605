/** What the scripted agent does when it is asked; the same story for a person trying it, for `--check` and for pictures. */
import type { Script } from './scriptedModel.ts';

export const CONNECTION = 'shop';
/** The same database where it counts: reached through the team's gateway, which alone has the login. */
export const SHARED = 'production';

export const STALE = "status = 'paid' AND placed_at < '2025-01-15'";
const REFUND = `UPDATE orders SET status = 'refunded' WHERE ${STALE}`;
const LOOK = 'SELECT id, name, email, ssn, card, city FROM customers ORDER BY id LIMIT 8';
const WIPE = 'DELETE FROM orders';
/** Whom the team's request is about. */
export const MOVED = 42;
const MOVE = `UPDATE customers SET city = 'Lisbon' WHERE id = ${MOVED} RETURNING id, name, email, ssn, city`;

export const PROMPTS = {
  look: 'Show me the first customers',
  refund: 'Refund the stale orders',
  wipe: 'Delete all orders',
} as const;
/** For a team: what another person approves. */
export const TEAM_PROMPT = `Move customer ${MOVED} to Lisbon in production`;

export const STORY: readonly Script[] = [
  {
    when: /production/i,
    title: TEAM_PROMPT,
    steps: [
      {
        text: 'I will change the customer’s city in production. ',
        tool: 'execute',
        input: { connection: SHARED, sql: MOVE, reason: `Customer ${MOVED} has moved to Lisbon` },
      },
      { text: 'Production answered:\n\n```\n{last}\n```' },
    ],
  },
  {
    when: /customers/i,
    title: PROMPTS.look,
    steps: [
      {
        text: 'I will look at the customers table. ',
        tool: 'query',
        input: { connection: CONNECTION, sql: LOOK, reason: 'The person wants to see some customers' },
      },
      { text: 'This is what I was given:\n\n```\n{last}\n```\n\nEmails are shortened, and I cannot see the social security and card numbers.' },
    ],
  },
  {
    when: /refund/i,
    title: PROMPTS.refund,
    steps: [
      {
        text: 'I will mark the stale orders as refunded. ',
        tool: 'execute',
        input: { connection: CONNECTION, sql: REFUND, reason: 'Refund the stale orders' },
      },
      { text: 'The database answered:\n\n```\n{last}\n```' },
    ],
  },
  {
    when: /delete|remove|wipe/i,
    title: PROMPTS.wipe,
    steps: [
      { text: 'I will delete them. ', tool: 'execute', input: { connection: CONNECTION, sql: WIPE, reason: 'Clean up' } },
      { text: 'That did not work:\n\n```\n{last}\n```' },
    ],
  },
];
