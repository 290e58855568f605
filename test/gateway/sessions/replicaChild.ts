/** A gateway's data path in a process of its own, to be killed: says where it listens over the channel. */
import { testGateway } from './gateways.ts';

const { TEST_PASSWORD = '', TEST_POLICY = '', TEST_STORE = '', TEST_TOKEN = '' } = process.env;
const gateway = await testGateway({ store: TEST_STORE, policy: TEST_POLICY, secrets: new Map([['shop', TEST_PASSWORD]]), leaseMs: 60_000, renewMs: 300 });
gateway.accept(TEST_TOKEN, 'ada');
process.send?.({ port: gateway.port, replica: gateway.replica.id });
process.once('disconnect', () => process.exit(0));
