/** How a client opens: whose openings are alike may share a process, for the server hears one of them only. */
import { isObject, type JsonObject } from '../message.ts';
import type { Outgoing } from '../upstream/upstream.ts';

/**
 * What a client may promise that the server of several cannot be told: tasks that it keeps for the server are asked about by
 * names that two clients may both have given.
 */
const NOT_SHARED: ReadonlySet<string> = new Set(['tasks']);

export interface Opening {
  /** `stateless`: each request says by itself who its client is, so that any two may share. */
  readonly era: 'sessions' | 'stateless';
  readonly key: string;
}

/** Undefined for a message that opens nothing. */
export function openingOf(message: Outgoing): Opening | undefined {
  if (!('method' in message && 'id' in message)) return undefined;
  if (message.method === 'server/discover') return { era: 'stateless', key: 'stateless' };
  if (message.method !== 'initialize') return undefined;
  const { protocolVersion, capabilities } = initializeOf(message.params);
  return { era: 'sessions', key: JSON.stringify([protocolVersion ?? null, capabilities ?? null]) };
}

/** What the server is told. */
export function initializeOf(params: JsonObject | undefined): JsonObject {
  const { _meta, capabilities, ...rest } = params ?? {};
  if (!isObject(capabilities)) return rest;
  return { ...rest, capabilities: Object.fromEntries(Object.entries(capabilities).filter(([name]) => !NOT_SHARED.has(name))) };
}
