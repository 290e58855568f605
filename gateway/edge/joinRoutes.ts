/** Where an edge brings its join token, or a new key: nobody is signed in here, the proof is in the body. */
import { type Request, type Response, Router } from 'express';
import { JOIN_PATH, JoinEdge, type JoinedEdge, ROTATE_PATH, RotateEdge } from '../../contract/gateway/edges.ts';
import { Problem } from '../../contract/problem.ts';
import { HttpServer } from '../api/httpServer.ts';
import { addressOf, type RateLimits } from '../identity/rateLimit.ts';
import type { EdgeStore } from './edgeStore.ts';

export function joinRoutes(store: Pick<EdgeStore, 'join' | 'rotate'>, limits: Pick<RateLimits, 'look' | 'failed'>): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const proved = async (request: Request, response: Response, work: () => Promise<JoinedEdge>): Promise<void> => {
    const from = addressOf(request);
    await limits.look('badProof', from);
    try {
      response.json(await work());
    } catch (cause) {
      if (cause instanceof Problem && cause.code === 'bad-token') await limits.failed('badProof', from);
      throw cause;
    }
  };
  router.post(JOIN_PATH, HttpServer.json(), async (request, response) => await proved(request, response, () => store.join(JoinEdge.parse(request.body))));
  router.post(ROTATE_PATH, HttpServer.json(), async (request, response) => await proved(request, response, () => store.rotate(RotateEdge.parse(request.body))));
  return router;
}
