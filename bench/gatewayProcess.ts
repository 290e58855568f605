/** A gateway's data path in a process of its own, so that what it costs can be told; says where it listens over the channel. */
import { testGateway } from '../test/gateway/sessions/gateways.ts';

const { BENCH_PASSWORD = '', BENCH_POLICY = '', BENCH_STORE = '' } = process.env;
const gateway = await testGateway({ store: BENCH_STORE, policy: BENCH_POLICY, secrets: new Map([['upstream', BENCH_PASSWORD]]) });
process.send?.({ url: gateway.url, token: gateway.token('ada') });
process.on('message', () => {
  (globalThis as { gc?: () => void }).gc?.();
  process.send?.({ sessions: gateway.sessions.size });
});
process.once('disconnect', () => process.exit(0));
