import type { Clock } from "../../lib/time/clock.ts";
import { messageOf, SkeinError } from "../../lib/errors/errors.ts";
import { awsVariable, type Environment, type S3Settings } from "./settings.ts";
import type { Credentials } from "./sign.ts";

/** Gives credentials that last a while yet. */
export interface CredentialSource {
  /** @throws SkeinError DEPOT_CREDENTIALS */
  get(): Promise<Credentials>;
  /** These were refused: looks again. @returns whether there are others now. @throws SkeinError DEPOT_CREDENTIALS */
  refused(these: Credentials): Promise<boolean>;
}

/** They are renewed this long before they end, in ms; those of which less is left when they come, at half of that. */
const RENEW_BEFORE_MS = 5 * 60_000;

/**
 * The standard chain: variables (unless the profile is named for us alone), then the shared files (profiles, SSO, processes, web identity), then the container's
 * or pod's and the machine's role. Variables are read here; for all else AWS's own chain is loaded, at first use.
 */
export function credentialChain(settings: S3Settings, env: Environment, clock: Clock): CredentialSource {
  let chain: Promise<() => Promise<Credentials>> | undefined;
  const load = async (): Promise<Credentials> => {
    const own = variables(env);
    if (own !== undefined && !settings.profileGoesFirst) return own;
    chain ??= import("./aws-chain.ts").then(({ awsChain }) =>
      awsChain(settings.region, settings.profile, env),
    );
    return await (
      await chain
    )();
  };
  return renewed(clock, load, settings.profile);
}

/**
 * Keeps what `load` gave until shortly before it ends; many who ask at once wait for one load. Where it cannot be
 * renewed yet, it serves to its end.
 */
export function renewed(clock: Clock, load: () => Promise<Credentials>, profile?: string): CredentialSource {
  let kept: Credentials | undefined;
  let loading: Promise<Credentials> | undefined;
  /** When less than that is left of them they are looked for anew, in ms. */
  let renewAtMs = RENEW_BEFORE_MS;
  const leftMs = (): number => (kept === undefined ? -Infinity : (kept.expiresMs ?? Infinity) - clock.now());
  const fresh = async (): Promise<Credentials> => {
    try {
      return (kept = await load());
    } catch (err) {
      if (kept !== undefined && leftMs() > 0) return kept;
      throw none(err, profile);
    } finally {
      // Who gives them may have no newer ones yet, or none that last longer: not each request is to ask.
      renewAtMs = Math.min(RENEW_BEFORE_MS, leftMs() / 2);
      loading = undefined;
    }
  };
  const get = async (): Promise<Credentials> => {
    if (kept !== undefined && leftMs() > renewAtMs) return kept;
    return await (loading ??= fresh());
  };
  return {
    get,
    async refused(these) {
      // Of many that were refused at once the first has looked.
      if (kept === these) kept = undefined;
      return !isSame(await get(), these);
    },
  };
}

const isSame = (a: Credentials, b: Credentials): boolean =>
  a.accessKeyId === b.accessKeyId &&
  a.secretAccessKey === b.secretAccessKey &&
  a.sessionToken === b.sessionToken;

function variables(env: Environment): Credentials | undefined {
  const accessKeyId = awsVariable(env, "AWS_ACCESS_KEY_ID");
  const secretAccessKey = awsVariable(env, "AWS_SECRET_ACCESS_KEY");
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey, sessionToken: awsVariable(env, "AWS_SESSION_TOKEN") };
}

/** Not with the cause: what a `credential_process` was called with may be a secret. */
function none(err: unknown, profile: string | undefined): SkeinError {
  const [line = ""] = messageOf(err).split("\n", 1);
  const why = line.startsWith("Command failed") ? "the credential_process ended with an error" : line;
  const where = profile === undefined ? "" : `, by the profile ${profile}`;
  return new SkeinError("DEPOT_CREDENTIALS", `no credentials for S3${where}: ${why.slice(0, 300)}`);
}
