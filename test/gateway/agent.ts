/** An agent that is connected to a gateway: real sessions in its real engine, with an upstream that counts what reaches it. */
import { randomBytes } from 'node:crypto';
import type { Effect, Facts } from '../../contract/facts.ts';
import type { Digest, OperationId } from '../../contract/ids.ts';
import type { Gateway } from '../../gateway/gateway.ts';
import type { Operation, RunResult } from '../../proxy/pipeline/operation.ts';
import type { Permit } from '../../proxy/pipeline/permit.ts';
import { run } from '../../proxy/pipeline/run.ts';
import { Session } from '../../proxy/pipeline/session.ts';

export interface Asked {
  readonly effect: Effect;
  readonly target?: string;
  readonly payload?: string;
  readonly bulk?: boolean;
  readonly shape?: string;
}

export interface Agent {
  readonly session: Session;
  /** What reached the upstream: operation, and what permitted it. */
  readonly forwarded: { readonly operation: string; readonly basis: string }[];
  do(asked: Asked, signal?: AbortSignal): Promise<RunResult>;
}

/** @param effect called with a permit that was just used, before the outcome */
export async function connect(
  gateway: Gateway,
  token: string,
  connection = 'orders',
  effect: (permit: Permit) => Promise<void> = () => Promise.resolve(),
): Promise<Agent> {
  const principal = await gateway.identity.authenticate(token);
  const identity = gateway.core.conversations.identity(principal, 'terminal', { agent: { kind: 'claude-code', name: 'Claude Code' }, run: 'run-of-the-test' });
  const { engine } = gateway.core;
  const session = await Session.open(engine, {
    actor: identity.actor,
    connection,
    protocol: 'postgres',
    surface: identity.surface,
    conversation: identity.conversation,
  });
  const forwarded: Agent['forwarded'] = [];
  return {
    session,
    forwarded,
    do: async (asked, signal = new AbortController().signal) => {
      const operation = operationOf(gateway, session, asked);
      return await run(engine, session, operation, signal, async (permit) => {
        permit.use(operation.digest);
        forwarded.push({ operation: operation.id, basis: permit.basis });
        await effect(permit);
        return { outcome: 'done', masked: 0, rows: 1 };
      });
    },
  };
}

function operationOf(
  gateway: Gateway,
  session: Session,
  { effect, target = 'orders', payload = `${effect} ${target}`, bulk = false, shape }: Asked,
): Operation {
  const facts: Facts = {
    effect,
    verb: effect.toUpperCase(),
    targets: [{ kind: 'table', name: target }],
    bulk,
    sensitive: [],
    headline: `${effect.toUpperCase()} ${target}`,
    notes: [],
  };
  const digest: Digest = gateway.core.engine.digest([session.request.connection, payload]);
  return {
    id: `op_${randomBytes(16).toString('base64url')}` as OperationId,
    digest,
    parts: [facts],
    payload,
    params: [],
    recorded: { payload: session.masking.scrub(payload).text },
    language: 'sql',
    ...(shape !== undefined && { shape }),
  };
}
