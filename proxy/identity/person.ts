/** Who sits at this machine, as its operating system says. */
import { userInfo } from 'node:os';
import type { Person } from '../../contract/actor.ts';

/** The user of the operating system: the person behind every agent on this machine, until they sign in to a gateway. */
export function osPerson(env: Readonly<Record<string, string | undefined>> = process.env): Person {
  return { issuer: 'os', subject: osUser(env).slice(0, 256), groups: [] };
}

function osUser(env: Readonly<Record<string, string | undefined>>): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run as a user id that has no entry: then the id is all there is to go by.
    const uid = process.getuid?.();
    return uid === undefined ? (env.USERNAME ?? 'unknown') : `uid ${uid}`;
  }
}
