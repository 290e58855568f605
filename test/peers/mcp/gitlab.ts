/** As much of GitLab's REST API (v4) as an issue tracker's server asks for, over issues kept in memory. Only the server is a real one. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Issue {
  readonly id: number;
  readonly iid: number;
  title: string;
  description: string;
  state: string;
}

export async function gitlab(): Promise<{ readonly url: string; readonly tokens: ReadonlySet<string>; readonly stop: () => void }> {
  const issues: Issue[] = [{ id: 101, iid: 1, title: 'The kettle does not boil', description: 'It stays cold.', state: 'opened' }];
  const tokens = new Set<string>();
  const author = { id: 7, username: 'ada', name: 'Ada', state: 'active', avatar_url: null, web_url: 'http://gitlab.invalid/ada' };
  const shown = (issue: Issue) => ({
    ...issue,
    project_id: 5,
    author,
    assignees: [],
    labels: [],
    milestone: null,
    created_at: '2026-01-01T00:00:00.000Z',
    updated_at: '2026-01-01T00:00:00.000Z',
    closed_at: null,
    web_url: `http://gitlab.invalid/shop/kettles/-/issues/${issue.iid}`,
    references: { short: `#${issue.iid}`, relative: `#${issue.iid}`, full: `shop/kettles#${issue.iid}` },
  });
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => void chunks.push(chunk));
    request.once('end', () => {
      const { pathname } = new URL(request.url ?? '', 'http://x');
      for (const token of [request.headers['private-token'], request.headers.authorization]) if (typeof token === 'string') tokens.add(token);
      const body = chunks.length > 0 ? (JSON.parse(Buffer.concat(chunks).toString()) as Partial<Issue>) : {};
      const [, iid] = /\/issues\/(\d+)$/.exec(pathname) ?? [];
      const issue = issues.find((one) => one.iid === Number(iid));
      const answer = (status: number, value: unknown): void => {
        response.writeHead(status, { 'Content-Type': 'application/json', 'X-Total': String(issues.length) }).end(JSON.stringify(value));
      };
      if (!pathname.startsWith('/api/v4/projects/')) return answer(404, { message: '404 Not Found' });
      if (iid !== undefined && !issue) return answer(404, { message: '404 Issue Not Found' });
      if (request.method === 'PUT' && issue) return answer(200, shown(Object.assign(issue, body)));
      if (issue) return answer(200, shown(issue));
      if (!pathname.endsWith('/issues')) return answer(404, { message: '404 Not Found' });
      if (request.method !== 'POST') return answer(200, issues.map(shown));
      const made: Issue = {
        id: 100 + issues.length + 1,
        iid: issues.length + 1,
        title: body.title ?? '',
        description: body.description ?? '',
        state: 'opened',
      };
      issues.push(made);
      return answer(201, shown(made));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tokens,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
