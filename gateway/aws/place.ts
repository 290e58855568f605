/** Where AWS is, as the configuration says. */
import type { Env, GatewayConfig } from '../config/load.ts';
import type { StsPlace } from './sts.ts';

/** Where S3-compatible servers that have no regions take requests to be. */
const NO_REGION = 'us-east-1';

export function awsRegion({ aws }: GatewayConfig, env: Env): string {
  return aws.region ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? NO_REGION;
}

export function stsPlace(config: GatewayConfig, env: Env): StsPlace {
  const { sts } = config.aws.endpoints;
  return { region: awsRegion(config, env), ...(sts !== undefined && { endpoint: sts }) };
}
