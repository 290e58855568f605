/** Networks between a proxy and a gateway that a test can break, and HTTP proxies as companies have them. */
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';

export interface Network {
  readonly port: number;
  /** Connections that were made through it. */
  readonly made: number;
  /** Connections that were broken at once. */
  readonly refused: number;
  /** Breaks what is open; with `refuse`, what comes is broken at once, too. */
  cut(refuse?: boolean): void;
  mend(): void;
  /** New connections go to another port from now on. */
  lead(target: number): void;
  /** Bytes stop, and nobody is told. */
  stall(stalled: boolean): void;
  stop(): Promise<void>;
}

/** A TCP relay to a port of this machine. */
export async function network(first: number): Promise<Network> {
  let target = first;
  const sockets = new Set<Socket>();
  let refusing = false;
  let stalled = false;
  let made = 0;
  let refused = 0;
  const server = createServer((inside) => {
    if (refusing) {
      refused++;
      return inside.destroy();
    }
    made++;
    const outside = connect(target, '127.0.0.1');
    for (const [a, b] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      sockets.add(a);
      a.setNoDelay(true);
      a.on('error', () => {});
      a.on('data', (chunk) => {
        if (!stalled) b.write(chunk);
      });
      a.once('close', () => {
        sockets.delete(a);
        if (!stalled) b.destroy();
      });
    }
    return undefined;
  });
  const port = await listen(server);
  return {
    port,
    get made() {
      return made;
    },
    get refused() {
      return refused;
    },
    cut: (refuse = false) => {
      refusing = refuse;
      for (const socket of sockets) socket.destroy();
    },
    lead: (next) => {
      target = next;
    },
    mend: () => {
      refusing = false;
    },
    stall: (now) => {
      stalled = now;
    },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export interface CorporateProxy {
  readonly port: number;
  /** What it was asked to connect to, with the status it answered. */
  readonly asked: string[];
  stop(): Promise<void>;
}

/** An HTTP proxy that connects where it is told by CONNECT, for those who log in. */
export async function corporateProxy(login?: string): Promise<CorporateProxy> {
  const asked: string[] = [];
  const sockets = new Set<{ destroy(): unknown }>();
  const server: HttpServer = createHttpServer((_request, response) => response.writeHead(405).end());
  server.on('connect', (request, socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const answer = (status: number): void => {
      asked.push(`${request.url} ${status}`);
      socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
    };
    if (login !== undefined && request.headers['proxy-authorization'] !== `Basic ${Buffer.from(login).toString('base64')}`) return answer(407);
    const [host = '', port] = (request.url ?? '').split(':');
    if (host === 'forbidden.example') return answer(403);
    const outside = connect(Number(port), host === 'gateway.example' ? '127.0.0.1' : host, () => {
      asked.push(`${request.url} 200`);
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(outside).pipe(socket);
    });
    sockets.add(outside);
    outside.on('error', () => socket.destroy());
    return undefined;
  });
  const port = await listen(server);
  return {
    port,
    asked,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}
