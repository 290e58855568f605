/** All detectors, most specific first: of two that start at the same place, the earlier names the value. */
import { apiKey } from './apiKey.ts';
import { card } from './card.ts';
import type { Detector } from './detector.ts';
import { email } from './email.ts';
import { iban } from './iban.ts';
import { jwt } from './jwt.ts';
import { phone } from './phone.ts';
import { privateKey } from './privateKey.ts';
import { secret } from './secret.ts';
import { usSsn } from './usSsn.ts';

export const DETECTORS: readonly Detector[] = [privateKey, jwt, apiKey, card, iban, usSsn, phone, email, secret];
