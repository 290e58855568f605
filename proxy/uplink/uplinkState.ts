/** How the proxy stands with its gateway, and the sentence for whoever wants to use a shared connection now. */
export type UplinkState =
  | { readonly state: 'connecting' }
  | { readonly state: 'ready'; readonly person: string }
  /** The network is gone; what is open waits for it to come back. */
  | { readonly state: 'resuming' }
  | { readonly state: 'signed-out' | 'refused' | 'unreachable' | 'certificate'; readonly sentence: string }
  | { readonly state: 'stopped'; readonly sentence: string };

export const SIGNED_OUT = 'You are not signed in to the gateway. Sign in with the Accounts menu of the editor, then connect again.';

/** Code and sentence for a stream that cannot be opened; undefined where it can. */
export function whyNot(state: UplinkState): { readonly code: string; readonly sentence: string } | undefined {
  switch (state.state) {
    case 'ready':
    case 'resuming':
      return undefined;
    case 'connecting':
      return { code: 'gateway-connecting', sentence: 'The gateway is being connected to. Try again in a moment.' };
    case 'signed-out':
    case 'refused':
    case 'unreachable':
    case 'certificate':
    case 'stopped':
      return { code: `gateway-${state.state}`, sentence: state.sentence };
  }
}
