/** What a process listens on, read from the kernel (Linux). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Listener {
  readonly address: string;
  readonly port: number;
}

const LISTEN = '0A';

/** Every TCP socket that a process listens on, IPv4 and IPv6. */
export function listeners(pid: number): Listener[] {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode) inodes.add(inode);
    } catch {
      // Closed since it was listed.
    }
  }
  return ['tcp', 'tcp6'].flatMap((family) =>
    readFileSync(`/proc/${pid}/net/${family}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === LISTEN && inodes.has(fields[9] ?? ''))
      .map((fields) => {
        const [address = '', port = ''] = (fields[1] ?? '').split(':');
        return { address: address.length === 8 ? ipv4(address) : address, port: Number.parseInt(port, 16) };
      }),
  );
}

/** The kernel writes an address as a number in the machine's byte order, which is little-endian wherever this runs. */
function ipv4(hex: string): string {
  return [...Buffer.from(hex, 'hex')].reverse().join('.');
}
