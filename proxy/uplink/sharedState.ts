import type { ServedState } from '../protocols/protocol.ts';
import type { Uplink } from './uplink.ts';
import { whyNot } from './uplinkState.ts';

/** What serving a connection of the gateway needs of the way there. */
export type SharedUplink = Pick<Uplink, 'host' | 'offered' | 'open' | 'openOnEach' | 'state'>;

/** How a connection of the gateway stands, as far as this proxy can tell. */
export function sharedState({ offered, state }: Pick<SharedUplink, 'offered' | 'state'>, name: string): ServedState {
  if (state.state === 'connecting' || state.state === 'resuming') return { state: 'starting' };
  const why = whyNot(state);
  if (why) return { state: 'failed', problem: why.sentence };
  const offer = offered.find((one) => one.name === name);
  if (!offer) return { state: 'failed', problem: `The gateway does not offer you ${name}. Ask whoever looks after its policy.` };
  if (offer.state === 'ready' || offer.state === 'starting') return { state: offer.state };
  // Its secret is the gateway's: nothing that could be entered here.
  return { state: 'failed', problem: offer.problem ?? `${name} does not work at the gateway at the moment. Its log says more.` };
}
