/** An edge in a process of its own, to be killed: says to how many replicas it is connected. */
import { loadEdgeConfig } from '../../../gateway/edge/process/config.ts';
import { Edge } from '../../../gateway/edge/process/edge.ts';
import { insideOnly } from './edges.ts';

const loaded = loadEdgeConfig({ config: process.env.TEST_EDGE_FILE }, {});
if (!loaded.ok) throw new Error(loaded.problems.map(({ message }) => message).join('; '));
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const edge = await Edge.start({ config: loaded.config, env: {}, version: '0.0.0-test', log, lookup: insideOnly });
setInterval(() => process.send?.({ connected: edge.counts.connected }, () => {}), 20);
process.once('SIGTERM', () => void edge.stop('told to').then(() => process.exit(0)));
process.once('disconnect', () => process.exit(0));
