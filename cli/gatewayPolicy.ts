import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { ApiError, ENDPOINTS, type EndpointId } from '../contract/gateway/api.ts';
import type { PolicyVersion } from '../contract/gateway/policy.ts';
import { Problem } from '../contract/problem.ts';
import { readPolicyFile } from '../proxy/policy/policyFile.ts';
import { type Command, UsageError } from './command.ts';
import { addressOf } from './login.ts';
import { plain } from './record.ts';

const TOKEN_VARIABLE = 'COUNTERSIGN_WORKLOAD_TOKEN';
/** Longest that one answer of the gateway is waited for, in milliseconds. */
const TIMEOUT_MS = 30_000;
/** Longest workload's token, in characters. */
const MAX_TOKEN = 16_384;

const TokenAnswer = z.object({ access_token: z.string().max(MAX_TOKEN) });
const OAuthRefusal = z.object({ error_description: z.string().max(2000) });

export const gatewayPolicyPut: Command = {
  name: 'gateway policy put',
  usage: 'FILE --gateway URL [--token-file FILE] [--over VERSION] [--comment TEXT]',
  about: 'put the organisation’s policy in force, from the CI of where it is kept',
  help: `FILE is checked by the gateway, and put in force where nothing is wrong with it. Who does that is a service account that puts policy and
nothing else, proved by the token of the workload that runs this; docs/gateway.md has an example.

--gateway URL       the gateway's address, such as https://gateway.example
--token-file FILE   where the workload's token is; left out: ${TOKEN_VARIABLE}
--over VERSION      the version that FILE replaces. Left out, it is the one in force, if this account put it or it is the first: what somebody
                    else has changed since then, in the console say, is never overwritten by what does not know of it
--comment TEXT      what the history says of it; left out: the file's name

Exits with 0 where it is in force (also where it was already), 1 where not.`,
  async run(args, io) {
    const text = { type: 'string' } as const;
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { gateway: text, 'token-file': text, over: text, comment: text },
      allowPositionals: true,
    });
    const [file, ...more] = positionals;
    if (file === undefined || more.length > 0) throw new UsageError('Say which file: countersign gateway policy put countersign.yaml --gateway https://HOST');
    const url = values.gateway === undefined ? undefined : addressOf(values.gateway);
    if (!url) throw new UsageError('Say which gateway: --gateway https://HOST.');
    if (values.over !== undefined && !/^\d{1,15}$/.test(values.over)) throw new UsageError('--over takes a version, such as 12, or 0 for none.');
    try {
      const read = await readPolicyFile(resolve(io.cwd, file));
      if (read.state !== 'read') throw new Problem('policy', `${file} cannot be read: ${read.state === 'failed' ? read.why : 'it is not there.'}`);
      const api = new Api(url, await signIn(url, await workloadToken(values['token-file'], io.cwd)));
      const { ok, problems, warnings } = await api.call('checkPolicy', { text: read.text });
      for (const { column, line, message } of [...problems, ...warnings]) io.error(plain(`${file}:${line}:${column}: ${message}`));
      if (!ok) return 1;
      const over = values.over === undefined ? await replaceable(api) : Number(values.over);
      const put = await api.call('putPolicy', { text: read.text, comment: values.comment ?? `put from ${file}`, over });
      io.out(put.version === over ? `Version ${put.version} is this policy already, and in force.` : `Version ${put.version} is in force.`);
      return 0;
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      io.error(plain(cause.message));
      return 1;
    }
  },
};

/** The version in force, where nobody else has put it. @throws Problem */
async function replaceable(api: Api): Promise<number> {
  const [{ versions }, { person }] = [await api.call('policyHistory'), await api.call('me')];
  const newest: PolicyVersion | undefined = versions[0];
  if (!newest) return 0;
  const { author, comment, createdAt, version } = newest;
  if (author.issuer === person.issuer && author.subject === person.subject) return version;
  throw new Problem(
    'conflict',
    `Version ${version} is in force, which ${author.name ?? author.subject} put on ${new Date(createdAt).toISOString()} (“${comment}”). Take what it changed into the file, then say that it replaces that: --over ${version}`,
  );
}

async function workloadToken(file: string | undefined, cwd: string): Promise<string> {
  const found = file === undefined ? process.env[TOKEN_VARIABLE] : await readFile(resolve(cwd, file), 'utf8').catch(() => undefined);
  const token = found?.trim() ?? '';
  if (token === '' || token.length > MAX_TOKEN)
    throw new Problem(
      'no-token',
      file === undefined ? `There is no token of the workload. Set ${TOKEN_VARIABLE}, or say --token-file.` : `There is no token in ${file}.`,
    );
  return token;
}

/** The account's own token, for the workload's. @throws Problem */
async function signIn(url: URL, workload: string): Promise<string> {
  const { body, status } = await ask(new URL('/oauth/token', url), {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: workload,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    }),
  });
  const answer = TokenAnswer.safeParse(body);
  if (answer.success) return answer.data.access_token;
  const said = OAuthRefusal.safeParse(body);
  throw new Problem('bad-token', said.success ? said.data.error_description : `The gateway at ${url.host} refused the workload’s token (${status}).`);
}

type Answer<Id extends EndpointId> = z.infer<Extract<(typeof ENDPOINTS)[Id], { readonly answer: z.ZodType }>['answer']>;

class Api {
  readonly #url: URL;
  readonly #token: string;

  constructor(url: URL, token: string) {
    this.#url = url;
    this.#token = token;
  }

  async call<Id extends 'checkPolicy' | 'putPolicy' | 'policyHistory' | 'me'>(id: Id, sent?: object): Promise<Answer<Id>> {
    const { answer, method, path } = ENDPOINTS[id];
    const { body, status } = await ask(new URL(path, this.#url), {
      method,
      headers: { authorization: `Bearer ${this.#token}`, ...(sent && { 'content-type': 'application/json' }) },
      ...(sent && { body: JSON.stringify(sent) }),
    });
    if (status === 200) return answer.parse(body) as Answer<Id>;
    const said = ApiError.safeParse(body);
    throw new Problem(said.success ? said.data.error : 'refused', said.success ? said.data.sentence : `The gateway at ${this.#url.host} answered ${status}.`);
  }
}

async function ask(url: URL, request: RequestInit): Promise<{ readonly status: number; readonly body: unknown }> {
  try {
    // What carries a token goes where it was meant to, and nowhere that an answer says.
    const response = await fetch(url, { ...request, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
    return { status: response.status, body: await response.json().catch(() => undefined) };
  } catch (cause) {
    throw new Problem('unreachable', `The gateway at ${url.host} cannot be reached. Check the address and the network, then try again.`, { cause });
  }
}
