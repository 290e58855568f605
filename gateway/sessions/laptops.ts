/** What laptops ask the gateway for besides shared connections: the policy for what they enforce themselves, and other people's answers. */
import type { StreamOpening } from '../../contract/tunnel.ts';
import type { Approvals } from '../../proxy/approval/approvals.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { ClientIdentity } from '../../proxy/protocols/protocol.ts';
import type { MuxStream } from '../../proxy/uplink/muxStream.ts';
import type { CentralPolicy } from '../policy/central.ts';
import type { TunnelPrincipal } from '../tunnel/principal.ts';
import { askForLaptop } from './laptopAsks.ts';

export interface LaptopsOptions {
  readonly central: Pick<CentralPolicy, 'forLaptop' | 'tag' | 'current'>;
  readonly approvals: Approvals;
  readonly log: Log;
}

export class Laptops {
  readonly #options: LaptopsOptions;

  constructor(options: LaptopsOptions) {
    this.#options = options;
  }

  tag(principal: TunnelPrincipal): string {
    return this.#options.central.tag(principal);
  }

  policy(principal: TunnelPrincipal, stream: MuxStream): void {
    stream.resume();
    stream.end(JSON.stringify(this.#options.central.forLaptop(principal)));
  }

  ask(principal: TunnelPrincipal, opening: StreamOpening, identity: ClientIdentity, stream: MuxStream): void {
    // Whoever may use connections here: a service account, or a run with a token of its own, asks nobody for a laptop.
    if (principal.connections !== undefined || principal.agent !== undefined) {
      stream.reset('gateway-refused', 'Your sign-in at the gateway may not ask others. Ask whoever runs it for the role of a developer.');
      return;
    }
    const { approvals, central, log } = this.#options;
    void askForLaptop({ approvals, policy: () => central.current(), log }, { principal, opening, identity, stream });
  }
}
