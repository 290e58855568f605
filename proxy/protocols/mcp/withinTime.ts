/** Work that somebody else's data can make endless, cut off: nothing else of the proxy's goes on while it runs. */
import { createContext, Script } from 'node:vm';

const place = createContext(Object.assign(Object.create(null) as object, { work: undefined as (() => void) | undefined }));
const script = new Script('work()');

/** @returns undefined where it took longer than `ms` */
export function withinTime<T>(ms: number, work: () => T): { readonly value: T } | undefined {
  let done: { readonly value: T } | undefined;
  place.work = () => {
    done = { value: work() };
  };
  try {
    script.runInContext(place, { timeout: ms });
  } catch (cause) {
    if ((cause as { readonly code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
  } finally {
    place.work = undefined;
  }
  return done;
}
