/**
 * Orders to the agent where nothing is pinned: metadata is for programs and may differ each time, and who a server says it is differs with each
 * of its versions. Neither is held to what was accepted; what is found in it is left out each time.
 */
import { suspicionsIn } from '../../pinning/suspicion.ts';
import { isObject, type Json, type JsonObject } from './message.ts';

/** One thing of a list, without metadata that gives the agent orders or hides something. */
export function withoutOrdersInMeta(item: Json): Json {
  if (!isObject(item) || item._meta === undefined || suspicionsIn(item._meta).length === 0) return item;
  const { _meta, ...rest } = item;
  return rest;
}

/** A server's introduction: what it says of itself in any field but its instructions, which are pinned. */
export function withoutOrdersIn(introduction: JsonObject): JsonObject {
  const { serverInfo } = introduction;
  const clean = withoutOrdersInMeta(introduction) as JsonObject;
  if (!isObject(serverInfo) || suspicionsIn(serverInfo).length === 0) return clean;
  // Some of it the protocol wants, as text.
  const kept = Object.entries(serverInfo).flatMap(([key, value]) => {
    if (suspicionsIn({ [key]: value }).length === 0) return [[key, value]];
    return typeof value === 'string' ? [[key, `(${key} left out)`]] : [];
  });
  return { ...clean, serverInfo: Object.fromEntries(kept) as JsonObject };
}
