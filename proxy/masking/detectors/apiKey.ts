import { type Chars, chars } from './chars.ts';
import type { Detector } from './detector.ts';
import { Runs } from './run.ts';

/** Longest token body, in characters. */
const MAX_BODY = 1024;

const ALNUM = chars(/[A-Za-z0-9]/);
const WORD = chars(/[A-Za-z0-9_]/);
const URLSAFE = chars(/[A-Za-z0-9_-]/);
const DOTTED = chars(/[A-Za-z0-9_.-]/);
const DASHED = chars(/[A-Za-z0-9-]/);
const HEX = chars(/[0-9a-fA-F]/);
const BASE32 = chars(/[A-Z2-7]/);
const UPPER = chars(/[A-Z0-9]/);
const PATH = chars(/[A-Za-z0-9/]/);
const BASE64 = chars(/[A-Za-z0-9+/=_-]/);

/** Prefixes, characters of the body, least number of them. The issuers document these for secret scanning. */
type Format = readonly [prefixes: string, body: Chars, least: number];
const FORMATS: readonly Format[] = [
  // AWS access key ids (IAM user guide, "unique identifiers") and Bedrock keys.
  ['AKIA ASIA ABIA ACCA', BASE32, 16],
  ['ABSK', BASE64, 100],
  // GitHub, GitLab, Bitbucket and Atlassian.
  ['ghp_ gho_ ghu_ ghs_ ghr_', ALNUM, 36],
  ['github_pat_', WORD, 40],
  ['glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct-', DOTTED, 20],
  ['ATATT3 ATCTT3 ATBB', BASE64, 24],
  // Slack tokens and webhooks.
  ['xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxe- xapp- xoxe.xoxb- xoxe.xoxp-', DASHED, 16],
  ['hooks.slack.com/services/ hooks.slack.com/workflows/', PATH, 24],
  // Payments.
  ['sk_live_ sk_test_ rk_live_ rk_test_ whsec_', BASE64, 16],
  ['sq0atp- sq0csp-', URLSAFE, 22],
  ['access_token$production$ access_token$sandbox$', chars(/[a-z0-9$]/), 40],
  // Google: API keys, OAuth client secrets, access tokens.
  ['AIza', URLSAFE, 35],
  ['GOCSPX-', URLSAFE, 28],
  ['ya29.', DOTTED, 30],
  // Models.
  ['sk-ant- sk-proj- sk-svcacct- sk-admin- sk-or- sk-lf-', URLSAFE, 20],
  ['sk-', ALNUM, 32],
  ['hf_', ALNUM, 30],
  ['gsk_ r8_ pplx- xai- tgp_v1_ nvapi- pcsk_', URLSAFE, 32],
  // Packages.
  ['npm_', ALNUM, 36],
  ['pypi-AgE', URLSAFE, 50],
  ['rubygems_', HEX, 48],
  ['oy2', chars(/[a-z0-9]/), 43],
  ['dckr_pat_ dckr_oat_', URLSAFE, 24],
  // Clouds and hosting.
  ['dop_v1_ doo_v1_ dor_v1_', HEX, 64],
  ['hvs. hvb. hvr.', URLSAFE, 24],
  ['dapi', HEX, 32],
  ['HRKU-', URLSAFE, 30],
  ['sbp_', HEX, 40],
  ['sb_secret_ pscale_tkn_ pscale_pw_ pscale_oauth_ nfp_ rnd_ tskey-auth- tskey-api- tskey-client- fo1_ fm2_', BASE64, 20],
  ['dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.', DOTTED, 40],
  ['AGE-SECRET-KEY-1', UPPER, 58],
  ['ops_eyJ', URLSAFE, 100],
  // Mail, messages, telephony.
  ['SG.', DOTTED, 60],
  ['key-', HEX, 32],
  ['xkeysib- xsmtpsib-', DASHED, 64],
  ['SK', HEX, 32],
  // Work tools and monitoring.
  ['shpat_ shpca_ shppa_ shpss_ shptka_', HEX, 32],
  ['lin_api_ lin_oauth_ ntn_ figd_ figo_ glsa_ glc_ bkua_ CCIPAT_ PMAK- NRAK- sntrys_ sntryu_ dd_pat_ phx_ phc_', BASE64, 24],
];

interface Rule {
  readonly prefix: string;
  readonly body: Chars;
  readonly least: number;
}
const RULES: readonly Rule[] = FORMATS.flatMap(([prefixes, body, least]) => prefixes.split(' ').map((prefix) => ({ prefix, body, least }))).sort(
  (a, b) => b.prefix.length - a.prefix.length,
);
const runs = new Runs();
const BY_START = Map.groupBy(RULES, (rule) => rule.prefix.slice(0, 2));

export const apiKey: Detector = {
  id: 'api-key',
  title: 'Cloud or API key',
  longest: 64 + MAX_BODY,
  anchors: { literals: RULES.map((rule) => rule.prefix) },
  scan(text, anchor, found) {
    let decided = true;
    for (const rule of BY_START.get(text.slice(anchor, anchor + 2)) ?? []) {
      if (!text.startsWith(rule.prefix, anchor)) continue;
      const from = anchor + rule.prefix.length;
      const end = runs.end(text, from, rule.body, MAX_BODY);
      decided &&= end < text.length;
      if (end - from < rule.least) continue;
      // A word with the same beginning (`sk-ant-configuration-example`) has no digits.
      if (end - from < 40 && !/\d/.test(text.slice(from, end))) continue;
      found(anchor, end);
      break;
    }
    return decided;
  },
};
