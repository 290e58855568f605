/** Edges: processes inside a network that accepts no inbound connection, which open the way to what is there. docs/edge.md has the whole. */
import { z } from 'zod';

export const EDGE_NAME = /^[a-z][a-z0-9-]{0,39}$/;
/** What stands in front of a join token, so that it is known for one wherever it turns up. */
export const JOIN_TOKEN_PREFIX = 'csjoin_';

/** One process of an edge, as the gateway sees it now. */
export const EdgeProcess = z.object({
  host: z.string().max(200),
  version: z.string().max(60),
  /** How many of the gateway's replicas it is connected to. */
  replicas: z.number().int().nonnegative(),
  connectedAt: z.number(),
  /** It lets what it carries end, and takes nothing new. */
  draining: z.boolean(),
});
export type EdgeProcess = z.infer<typeof EdgeProcess>;

export const EdgeKeyView = z.object({
  /** Says which key it is: the hash of its public half. */
  id: z.string().max(128),
  /** The machine that made it, as it said. */
  host: z.string().max(200),
  joinedAt: z.number(),
  seenAt: z.number().optional(),
  revokedAt: z.number().optional(),
});
export type EdgeKeyView = z.infer<typeof EdgeKeyView>;

export const EdgeView = z.object({
  name: z.string().max(40),
  createdAt: z.number(),
  removedAt: z.number().optional(),
  /** The connections of policy that name it. */
  connections: z.array(z.string().max(200)).max(500),
  keys: z.array(EdgeKeyView).max(200),
  processes: z.array(EdgeProcess).max(200),
  /** Replicas of the gateway that run now. */
  replicas: z.number().int().nonnegative(),
  /** How it stands, in a sentence. */
  state: z.enum(['connected', 'degraded', 'away', 'never-joined', 'removed']),
  sentence: z.string().max(1000),
});
export type EdgeView = z.infer<typeof EdgeView>;

export const NewEdge = z.object({
  name: z.string().regex(EDGE_NAME),
  /** How long the join token counts. */
  minutes: z.number().int().min(1).max(1440).default(15),
});
export type NewEdge = z.infer<typeof NewEdge>;

export const AddedEdge = z.object({
  name: z.string().max(40),
  /** Shown here and never again. Counts once. */
  token: z.string().max(200),
  expiresAt: z.number(),
});
export type AddedEdge = z.infer<typeof AddedEdge>;

/** Where an edge brings its join token and its key. Nobody is signed in there: the token is what counts. */
export const JOIN_PATH = '/edge/join';
/** Where it changes its key for another. */
export const ROTATE_PATH = '/edge/rotate';

/** What a new key signs to show that whoever sends it holds it: this, the gateway's address, and what it is for. */
export const JOIN_DOMAIN = 'countersign edge join 1\n';

const publicKey = z.string().max(500);
const signature = z.string().max(200);
export const JoinEdge = z.object({
  token: z.string().max(200),
  /** Ed25519, SPKI, PEM. */
  publicKey,
  /** By that key over `JOIN_DOMAIN`, the gateway's address, a line end, and the token: base64url. */
  proof: signature,
  host: z.string().max(200),
});
export type JoinEdge = z.infer<typeof JoinEdge>;

export const RotateEdge = z.object({
  /** As for the tunnel, by the key that it has. */
  assertion: z.string().max(4096),
  publicKey,
  /** By the new key over `JOIN_DOMAIN`, the gateway's address, a line end, and the assertion. */
  proof: signature,
  host: z.string().max(200),
});
export type RotateEdge = z.infer<typeof RotateEdge>;

export const JoinedEdge = z.object({ edge: z.string().regex(EDGE_NAME), key: z.string().max(128), issuer: z.string().max(2000) });
export type JoinedEdge = z.infer<typeof JoinedEdge>;

/** `typ` of the token by which an edge opens its tunnel: a JWT that it signs itself, `aud` the gateway, used once. */
export const EDGE_TOKEN_TYPE = 'edge+jwt';
/** Longest life of one, in seconds. The link that it opens lives as long as the gateway says. */
export const EDGE_TOKEN_SECONDS = 60;
