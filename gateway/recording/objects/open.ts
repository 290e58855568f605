/** The archive as the configuration says. */
import { join } from 'node:path';
import { awsCredentials } from '../../aws/login.ts';
import { awsRegion, stsPlace } from '../../aws/place.ts';
import type { Env, GatewayConfig } from '../../config/load.ts';
import type { Place } from '../../config/recordings.ts';
import { folderObjects } from './folder.ts';
import type { ObjectStore } from './objectStore.ts';
import { s3Objects } from './s3.ts';

/** The folder below `data`, wherever that is. */
const OWN_FOLDER = 'data';

export interface Places {
  /** Where ended sessions go; undefined: they stay in the database. */
  readonly archive: ObjectStore | undefined;
  /** By their ids, those of before as well. */
  readonly all: ReadonlyMap<string, ObjectStore>;
}

export function openPlaces(config: GatewayConfig, env: Env): Places {
  const { aws, data, database, recordings } = config;
  const open = ({ folder, s3 }: Place): ObjectStore | undefined => {
    if (s3) {
      const credentials = awsCredentials(s3.login ?? aws.login, env, stsPlace(config, env));
      return s3Objects({ place: s3, region: s3.region ?? awsRegion(config, env), credentials });
    }
    return folder === undefined ? undefined : folderObjects(folder);
  };
  // Replicas share no folder unless they are told of one; a single process has its own.
  const own = open(recordings) ?? (database.kind === 'embedded' ? folderObjects(join(data, 'recordings'), OWN_FOLDER) : undefined);
  const all = [own, ...recordings.before.map(open)].flatMap((store) => store ?? []);
  return { archive: own, all: new Map(all.map((store) => [store.id, store])) };
}
