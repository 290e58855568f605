/**
 * The tunnel: one WebSocket from a proxy (or an edge) to the gateway, many streams in it. What both sides agree on: the
 * bytes' layout, the caps, and the decoders of what is said in JSON. docs/tunnel.md has the whole.
 *
 *   message  kind u8 …                              one binary WebSocket message
 *     data     1, seq u32, ack u32, frame…          numbered and kept until acknowledged, so that a link can be resumed
 *     ack      2, ack u32
 *     control  3, JSON (`ToGateway`, `FromGateway`) neither numbered nor repeated
 *   frame    type u8, stream u32, length u32, payload
 */
import { z } from 'zod';
import { Agent } from './actor.ts';

/** Subprotocol of the WebSocket; another number is another tunnel. */
export const TUNNEL_PROTOCOL = 'countersign.tunnel.1';
export const TUNNEL_PATH = '/tunnel';

export const MESSAGE = { data: 1, ack: 2, control: 3 } as const;
/** Kind, seq and ack in front of a data message's frames, in bytes. */
export const DATA_HEADER_BYTES = 9;

export const FRAME = {
  /** Payload: `StreamOpening`. */
  open: 1,
  data: 2,
  /** Payload u32: so many bytes more may be sent. */
  credit: 3,
  /** Nothing more comes from this side. */
  end: 4,
  /** Payload: `StreamReset`. The stream is over both ways. */
  reset: 5,
} as const;
export const FRAME_HEADER_BYTES = 9;

/** Largest WebSocket message, in bytes. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
/** Most payload of one data frame, in bytes. */
export const MAX_DATA_BYTES = 64 * 1024;
/** Largest opening, reset and control message, in bytes of JSON. */
export const MAX_OPENING_BYTES = 16 * 1024;
export const MAX_RESET_BYTES = 4 * 1024;
export const MAX_CONTROL_BYTES = 256 * 1024;
/** What a side may send on a stream before the other has granted more, in bytes. */
export const FIRST_CREDIT_BYTES = 64 * 1024;
/** Most credit that is out on one stream, in bytes. */
export const MAX_CREDIT_BYTES = 1024 * 1024;
/** Streams of one link that are open at once. */
export const MAX_STREAMS = 2_000;
/** How long a side keeps a link whose WebSocket is gone, for the other to come back to, in milliseconds. */
export const RESUME_MS = 30_000;

/** What the opener says of a stream. The person is never in it: the link's token says who that is. */
export const StreamOpening = z.object({
  connection: z.string().min(1).max(200),
  /**
   * `bytes`: the protocol of the connection. `http`: requests to its MCP endpoint. `policy`: the organisation's policy for this
   * person, as JSON. `ask`: a question about a connection of the laptop's own that others answer (contract/gateway/laptop.ts).
   */
  kind: z.enum(['bytes', 'http', 'policy', 'ask']),
  /** Which data surface the client came in by: `terminal`, `mcp`. */
  surface: z.string().max(40),
  /** The proxy's word for what acts: shown, recorded, never trusted to loosen. */
  agent: Agent,
  /** Groups sessions of one run of an agent; chosen by the proxy, kept apart by person. */
  conversation: z.string().min(1).max(128),
  readOnly: z.boolean().optional(),
  /** What the agent says it is doing. */
  reason: z.string().max(2000).optional(),
});
export type StreamOpening = z.infer<typeof StreamOpening>;

/** What the gateway says of a stream that it opens to an edge: where it leads. The edge answers with one byte, `DIALLED`, or a reset. */
export const EdgeOpening = z.object({
  kind: z.literal('dial'),
  connection: z.string().min(1).max(200),
  /** A name, an address, or the folder of a Unix socket, as in the connection's address. */
  host: z.string().min(1).max(255),
  port: z.number().int().min(1).max(65_535),
});
export type EdgeOpening = z.infer<typeof EdgeOpening>;
export const DIALLED = 0x01;

/** What an edge may be asked for: the connections that name it. */
export const EdgeTarget = EdgeOpening.omit({ kind: true });
export type EdgeTarget = z.infer<typeof EdgeTarget>;

/** Why a stream ended. Match on the code; the sentence is for a person. */
export const StreamReset = z.object({ code: z.string().max(60), sentence: z.string().max(1000) });
export type StreamReset = z.infer<typeof StreamReset>;

/** A connection that the gateway offers to the person of the link: all that a proxy needs to serve it. */
export const OfferedConnection = z.object({
  name: z.string().min(1).max(200),
  protocol: z.enum(['postgres', 'mcp']),
  /** For `PGDATABASE`. */
  database: z.string().max(200).optional(),
  /** What is masked, for showing: `customers.email` → `partial`. */
  sensitive: z.record(z.string().max(400), z.string().max(40)),
  /** In words: `a role of its own for each session`. */
  credential: z.string().max(200),
  state: z.enum(['ready', 'starting', 'needs-secret', 'needs-sign-in', 'failed']),
  problem: z.string().max(1000).optional(),
});
export type OfferedConnection = z.infer<typeof OfferedConnection>;

const count = z.number().int().nonnegative();
const place = z.object({ id: z.string().max(100), secret: z.string().max(100), received: count });

export const ToGateway = z.discriminatedUnion('type', [
  /** First. `resume`: go on with that link, of which this side has `received` messages. `edge`: serve, rather than ask. */
  z.object({
    type: z.literal('hello'),
    version: z.string().max(60),
    resume: place.optional(),
    edge: z.string().max(64).optional(),
    /** What it understands besides; nothing else is said to it. */
    accepts: z.array(z.string().max(40)).max(20).optional(),
  }),
  /** A newer access token of the same person. */
  z.object({ type: z.literal('token'), token: z.string().max(16_384) }),
  z.object({ type: z.literal('bye'), sentence: z.string().max(1000) }),
  /** Of an edge: how it stands. `draining`: it takes no new streams. `problems`: why it would not dial, by connection. */
  z.object({
    type: z.literal('edge'),
    host: z.string().max(200),
    draining: z.boolean(),
    problems: z.record(z.string().max(200), z.string().max(600)),
  }),
]);
export type ToGateway = z.infer<typeof ToGateway>;

export const FromGateway = z.discriminatedUnion('type', [
  /** Answers `hello`. `resumed`: the link goes on, and the gateway has `received` messages of it. */
  z.object({
    type: z.literal('welcome'),
    link: place,
    resumed: z.boolean(),
    person: z.string().max(600),
    expiresAt: z.number(),
  }),
  /** The token was taken; it lasts until then (epoch milliseconds). */
  z.object({ type: z.literal('token'), expiresAt: z.number() }),
  /** Only to who accepts `policy`. Another tag than the last: there is another policy for this person; a `policy` stream gives it. */
  z.object({ type: z.literal('policy'), tag: z.string().max(128) }),
  z.object({ type: z.literal('connections'), connections: z.array(OfferedConnection).max(500) }),
  /** To an edge: which replica this is, those that run, each of which needs a link of its own, and what may be asked for. */
  z.object({ type: z.literal('edge'), replica: z.string().max(100), replicas: z.array(z.string().max(100)).max(200), targets: z.array(EdgeTarget).max(500) }),
  /** Open new streams elsewhere: this gateway leaves within so long. */
  z.object({ type: z.literal('drain'), sentence: z.string().max(1000), graceMs: count }),
  /** The link is over, for good: its token expired or was revoked, or the gateway goes. */
  z.object({ type: z.literal('bye'), code: z.string().max(60), sentence: z.string().max(1000) }),
]);
export type FromGateway = z.infer<typeof FromGateway>;
