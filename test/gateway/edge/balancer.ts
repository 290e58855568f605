/** A TCP load balancer in front of replicas: one after the other, or one that the test chooses. */
import { connect, createServer, type Socket } from 'node:net';

export interface Balancer {
  readonly port: number;
  /** New connections go to these, in turn. */
  lead(...ports: readonly number[]): void;
  /** Breaks what is open. */
  cut(): void;
  stop(): Promise<void>;
}

export async function balancer(at: number): Promise<Balancer> {
  const sockets = new Set<Socket>();
  let targets: readonly number[] = [];
  let turn = 0;
  const server = createServer((inside) => {
    const target = targets[turn++ % Math.max(1, targets.length)];
    if (target === undefined) return inside.destroy();
    const outside = connect(target, '127.0.0.1');
    for (const [a, b] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      sockets.add(a);
      a.setNoDelay(true);
      a.on('error', () => {});
      a.once('close', () => {
        sockets.delete(a);
        b.destroy();
      });
      a.pipe(b);
    }
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(at, '127.0.0.1', resolve));
  return {
    port: at,
    lead: (...ports) => {
      targets = ports;
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
