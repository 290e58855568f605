/** What laptops ask the gateway for besides shared connections: the organisation's policy for what they enforce themselves. */
import type { StreamOpening } from '../../contract/tunnel.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { ClientIdentity } from '../../proxy/protocols/protocol.ts';
import type { MuxStream } from '../../proxy/uplink/muxStream.ts';
import type { CentralPolicy } from '../policy/central.ts';
import type { TunnelPrincipal } from '../tunnel/principal.ts';

export interface LaptopsOptions {
  readonly central: Pick<CentralPolicy, 'forLaptop' | 'tag'>;
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

  ask(_principal: TunnelPrincipal, _opening: StreamOpening, _identity: ClientIdentity, stream: MuxStream): void {
    stream.reset('gateway-refused', 'This gateway does not do that.');
  }
}
