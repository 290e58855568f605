/** An archiver in a process of its own, to be killed without warning by the test that starts it. */
import { Secret } from '../../../contract/secret.ts';
import { Archiver } from '../../../gateway/recording/archive/archiver.ts';
import { s3Objects } from '../../../gateway/recording/objects/s3.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { BUCKET, REGION } from '../s3/s3Server.ts';
import { quiet } from '../stores.ts';

const { env } = process;
const db = openPostgres({ url: env.DATABASE_URL ?? '', log: quiet });
const store = s3Objects({
  place: { bucket: BUCKET, prefix: 'team/', endpoint: env.ENDPOINT ?? '' },
  region: REGION,
  credentials: async () => ({ accessKeyId: env.ACCESS_KEY_ID ?? '', secretAccessKey: new Secret(env.SECRET_ACCESS_KEY ?? '') }),
});
await new Archiver({ db, store, log: quiet, afterMs: 0, archived: () => {}, segmentChars: Number(env.SEGMENT_CHARS) }).run();
await db.close();
