import type { LinkView } from '../../contract/webview.ts';
import type { Translate } from '../translate.ts';

/** How this window stands with the proxy. */
export type LinkState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'on'; readonly pid: number; readonly version: string }
  /** A person turned it off. Nothing is protected, and nothing is forwarded. */
  | { readonly kind: 'off' }
  /** `takeOver`: another editor or profile of the same person holds the proxy, and a person may take it over. */
  | { readonly kind: 'failed'; readonly code: string; readonly sentence: string; readonly takeOver: boolean };

export function linkView(state: LinkState, t: Translate): LinkView {
  switch (state.kind) {
    case 'on':
      return { state: 'on' };
    case 'starting':
      return { state: 'starting', sentence: t('Starting the proxy. Nothing is forwarded until it is up.') };
    case 'off':
      return { state: 'off', sentence: t('Countersign is off: its connections are closed, and agents in this editor are not checked. Start it to go on.') };
    case 'failed':
      return { state: 'failed', sentence: state.sentence.slice(0, 1000) };
  }
}
