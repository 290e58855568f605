import type { Finding } from '../../contract/response.ts';
import { say } from '../parts/strings.ts';

/** `email, replaced by a token: detector “email”`. */
export function describeFinding({ label, by, mask }: Pick<Finding, 'label' | 'by' | 'mask'>): string {
  const found = by === 'column' ? say('op.by.column', { label }) : by === 'opaque' ? say('op.by.opaque', { label }) : say('op.by.detector', { by });
  return `${label}, ${say(`op.mask.${mask}`)}: ${found}`;
}
