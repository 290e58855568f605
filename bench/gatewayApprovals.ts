/** How many questions are asked, answered by someone else and used in a second, over PostgreSQL with two replicas. */
import { NARROWEST } from '../contract/approval.ts';
import { connect } from '../test/gateway/agent.ts';
import { stage } from '../test/gateway/stage.ts';
import { type Figure, median, quantile } from './figures.ts';

/** Agents that ask at once, half of them at each replica. */
const AGENTS = 16;
const SECONDS = 10;
const POLICY = `version: 1
connections:
  orders: { protocol: postgres, upstream: postgres://127.0.0.1:1/orders, via: gateway, password: "secret:orders" }
rules:
  - { id: writes, match: { effect: write }, verdict: ask, approvers: group:dba }
`;

/** @param store address of an empty database */
export async function benchApprovals(store: string): Promise<Figure[]> {
  const on = await stage({ store: 'embedded', replicas: 2, env: { DATABASE_URL: store } });
  try {
    const [ada, dana, root] = [await on.signIn('ada'), await on.signIn('dana'), await on.signIn('root')];
    const put = await root.call('PUT', '/v1/policy', { text: POLICY, comment: 'bench', over: 0 });
    if (put.status !== 200) throw new Error(`the policy was not taken: ${JSON.stringify(put.body)}`);
    const [one, other] = on.gateways;
    if (!one || !other) throw new Error('two replicas were asked for');
    const approver = await one.identity.authenticate(dana.token);
    const viewer = { id: approver.id, person: approver.person, auditor: false };
    const until = performance.now() + SECONDS * 1000;
    const took: number[] = [];
    const over = new AbortController();
    const asking = Array.from({ length: AGENTS }, async (_, n) => {
      const agent = await connect(n % 2 === 0 ? one : other, ada.token);
      while (performance.now() < until) {
        const from = performance.now();
        const result = await agent.do({ effect: 'write', payload: `write ${n} ${from}` });
        if (result.forwarded) took.push(performance.now() - from);
      }
      await agent.session.close('done');
    });
    // One who answers whatever waits, at either replica in turn: past the limit on how fast a person may click.
    const answering = (async () => {
      for (let turn = 0; !over.signal.aborted; turn++) {
        const { answers } = turn % 2 === 0 ? one : other;
        const { pending } = await answers.list(viewer);
        await Promise.all(pending.map(({ digest, id }) => answers.answer({ answer: 'approve', id, digest, scope: NARROWEST }, viewer)));
        if (pending.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      }
    })();
    await Promise.all(asking);
    over.abort();
    await answering;
    return [
      { name: 'approvals over PostgreSQL, two replicas: asked, answered and used', value: took.length / SECONDS, unit: '/s' },
      { name: 'approvals over PostgreSQL, two replicas: from the question to its use, median', value: median(took), unit: 'ms' },
      { name: 'approvals over PostgreSQL, two replicas: from the question to its use, p99', value: quantile(took, 0.99), unit: 'ms' },
    ];
  } finally {
    await on.stop();
  }
}
