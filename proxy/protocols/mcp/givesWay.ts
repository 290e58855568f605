/**
 * Which of too many gives way: the one that was unused longest, of whoever has most of them. So nobody is ended by what another
 * person opens, and who opens without end comes to their own.
 * @param held oldest use first, with whose each is
 */
export function givesWay<K>(held: Iterable<readonly [key: K, owner: string]>): K | undefined {
  const owned = new Map<string, { readonly oldest: K; count: number }>();
  for (const [key, owner] of held) {
    const theirs = owned.get(owner);
    if (theirs) theirs.count++;
    else owned.set(owner, { oldest: key, count: 1 });
  }
  let most: { readonly oldest: K; readonly count: number } | undefined;
  for (const theirs of owned.values()) if (!most || theirs.count > most.count) most = theirs;
  return most?.oldest;
}
