/** What `vscode-jsonrpc`’s readers have in common, wherever their bytes come from. */
interface Reader {
  partialMessageTimeout: number;
}

/**
 * Turns off the reader's clock for a message that comes in parts. Nobody listens to it, and it is set again each time it
 * strikes, also when the stream has closed: a connection that is lost in mid-message would keep its process alive for ever.
 */
export function withoutPartialTimer<R extends Reader>(reader: R): R {
  reader.partialMessageTimeout = 0;
  return reader;
}
