// A reporter for node:test that writes nothing but the counts, for the closing line of `npm test`.
export default async function* countReporter(source) {
  for await (const event of source) {
    // The summary without a file is the whole run's.
    if (event.type === 'test:summary' && event.data.file === undefined) {
      const { passed, failed, cancelled, skipped, todo } = event.data.counts;
      yield JSON.stringify({ passed, failed: failed + cancelled + todo, skipped });
    }
  }
}
