import { defaultProvider } from "@aws-sdk/credential-provider-node";
import type { Credentials } from "./sign.ts";

/**
 * AWS's own chain of credentials: a module of its own, to be loaded when it is needed. (Imported dynamically by
 * itself, a CommonJS package has other exports once it is bundled than before.)
 */
export function awsChain(region: string, profile: string | undefined): () => Promise<Credentials> {
  const provider = defaultProvider({
    ...(profile === undefined ? {} : { profile }),
    // Where roles are taken on; nothing else of it matters here.
    clientConfig: { region },
  });
  return async () => {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = await provider();
    return { accessKeyId, secretAccessKey, sessionToken, expiresMs: expiration?.getTime() };
  };
}
