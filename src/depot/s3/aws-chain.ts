import { defaultProvider } from "@aws-sdk/credential-provider-node";
import type { Environment } from "./settings.ts";
import type { Credentials } from "./sign.ts";

const OWN = "SKEIN_AWS_";
/** What it has to say beside its errors would stand among a command's own words. */
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/**
 * AWS's own chain of credentials: a module of its own, to be loaded when it is needed. (Imported dynamically by
 * itself, a CommonJS package has other exports once it is bundled than before.)
 */
export function awsChain(
  region: string,
  profile: string | undefined,
  env: Environment,
): () => Promise<Credentials> {
  nameAsAws(env);
  return async () => {
    // A new one each time, which reads the shared files anew: keys are rotated while a process lives.
    const provider = defaultProvider({
      ...(profile === undefined ? {} : { profile }),
      // Where roles are taken on. Not as `clientConfig`: single sign-on would be asked there too, and not in its region.
      parentClientConfig: { region },
      logger: SILENT,
      ignoreCache: true,
    });
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = await provider();
    return { accessKeyId, secretAccessKey, sessionToken, expiresMs: expiration?.getTime() };
  };
}

/** The chain reads this process's variables by AWS's names alone; Skein's own go before them. */
function nameAsAws(env: Environment): void {
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith(OWN) && value !== undefined) process.env[name.slice("SKEIN_".length)] = value;
  }
}
