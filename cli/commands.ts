/** Every command there is. */
import type { Command } from './command.ts';
import { connect } from './connect.ts';
import { gateway, gatewayCheck } from './gateway.ts';
import { gatewayEdgeAdd, gatewayEdgeList, gatewayEdgeRemove } from './gatewayEdge.ts';
import { gatewayExport } from './gatewayExport.ts';
import { gatewayPolicyPut } from './gatewayPolicy.ts';
import { gatewaySecretList, gatewaySecretRemove, gatewaySecretRotate, gatewaySecretSet } from './gatewaySecret.ts';
import { login, logout } from './login.ts';
import { policyBuiltin } from './policy/builtin.ts';
import { policyCheck } from './policy/check.ts';
import { policyExplain } from './policy/explain.ts';
import { policySchema } from './policy/schema.ts';
import { policyTest } from './policy/test.ts';
import { sessions } from './sessions.ts';
import { verify } from './verify.ts';

export const COMMANDS: readonly Command[] = [
  policyCheck,
  policyExplain,
  policyTest,
  policySchema,
  policyBuiltin,
  sessions,
  verify,
  connect,
  login,
  logout,
  gatewayEdgeAdd,
  gatewayEdgeList,
  gatewayEdgeRemove,
  gatewaySecretSet,
  gatewaySecretList,
  gatewaySecretRemove,
  gatewaySecretRotate,
  gatewayPolicyPut,
  gatewayExport,
  gatewayCheck,
  gateway,
];
