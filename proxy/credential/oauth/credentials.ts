/** The headers that policy names, and the token of a sign-in where policy names no `Authorization`. Never the client's own. */
import type { UpstreamCredentials } from '../../protocols/mcp/upstream/credentials.ts';
import type { OAuthConnection } from './broker.ts';

export function signedInHeaders(configured: UpstreamCredentials, oauth: OAuthConnection): UpstreamCredentials {
  let used: string | undefined;
  return {
    headers: async (url) => {
      const own = await oauth.headers(url);
      used = own.Authorization;
      return { ...(await configured.headers(url)), ...own };
    },
    refused: (url, status, challenge) => oauth.refused(url, status, challenge, used),
  };
}
