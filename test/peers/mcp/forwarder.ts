/** Stands before the relay for programs that cannot be told a bearer token: adds it, and passes on everything else as it came. */
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';

export async function forwarder(to: URL, headers: Readonly<Record<string, string>>): Promise<{ readonly url: string; readonly stop: () => void }> {
  // It hangs up on nobody who is silent for a while: on a busy machine that meets their next request.
  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const { port } = server.address() as AddressInfo;
    // A Host that means this server means the one behind it; any other is passed on for that one to judge.
    const host = request.headers.host?.replace(new RegExp(`^(127\\.0\\.0\\.1|localhost):${port}$`), `127.0.0.1:${to.port}`) ?? '';
    const origin = request.headers.origin?.replace(`:${port}`, `:${to.port}`);
    const forwarded = send(
      to,
      { method: request.method, headers: { ...request.headers, host, ...(origin !== undefined && { origin }), ...headers } },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        answer.pipe(response);
        answer.once('close', () => {
          if (!answer.complete) response.destroy();
        });
      },
    );
    forwarded.once('error', () => response.destroy());
    response.once('close', () => {
      if (!response.writableFinished) forwarded.destroy();
    });
    request.pipe(forwarded);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${to.pathname}`,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
