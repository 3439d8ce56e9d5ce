import { SkeinError } from "../../lib/errors/errors.ts";

/** Who types here, and whose cluster else it may be that was meant. */
export interface Typist {
  readonly uid: number;
  /** Whoever typed sudo before it. */
  readonly sudoUser: string | undefined;
  /** Is root's own operator's folder there? */
  readonly isRootOperator: boolean;
  /** Was a folder named (SKEIN_HOME)? Then that one was meant. */
  readonly hasHome: boolean;
}

/** Where the cluster is another user's, making one of one's own is the last thing that is wanted. */
export function noCluster(dir: string, typist: Typist): SkeinError {
  const hint = hintFor(typist);
  return new SkeinError(
    "NO_CLUSTER",
    `this machine operates no cluster (there is no operator.json in ${dir})`,
    {
      ...(hint === undefined ? {} : { hint }),
      data: { path: dir },
    },
  );
}

function hintFor({ uid, sudoUser, isRootOperator, hasHome }: Typist): string | undefined {
  if (hasHome) return undefined;
  if (uid !== 0 && isRootOperator)
    return "Root operates one here: type it with sudo. For one of your own: skein up, or skein init.";
  if (uid === 0 && sudoUser !== undefined && sudoUser !== "root")
    return `Type it without sudo where ${sudoUser} operates one. To make one as root: skein up, or skein init.`;
  return undefined;
}
