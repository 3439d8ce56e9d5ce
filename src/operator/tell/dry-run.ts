import { SkeinError } from "../../lib/errors/errors.ts";
import type { Signer } from "../../trust/keys/keys.ts";

/** Something that a command does to the cluster or to this machine, as it is told before it is done. */
export interface Deed {
  /** A sentence without its full stop: `web@3f9c2ab1 would be stopped on 2 nodes`. */
  readonly text: string;
  /** A table below it. */
  readonly rows?: readonly (readonly string[])[];
  /** The same for programs. */
  readonly data: Readonly<Record<string, unknown>> & { readonly deed: string };
}

/**
 * A command that is only to say what it would do takes the very way of the real one, and so meets the same refusals, up
 * to its deeds: each is announced before anything of it is signed, sent or written.
 */
export class DryRun {
  /** In the order in which they would be done. */
  readonly deeds: Deed[] = [];
}

/** Whoever does things; without `dryRun` they are done. */
export interface Doer {
  readonly dryRun?: DryRun | undefined;
}

/** How a dry run leaves the way of the real one: no failure. Only `runBody` catches it. */
export class DryRunEnd extends Error {
  override readonly name = "DryRunEnd";
}

/**
 * Announces a deed that others follow.
 * @returns whether it is to be done; else the caller goes on without it
 */
export function toBeDone({ dryRun }: Doer, deed: () => Deed): boolean {
  dryRun?.deeds.push(deed());
  return dryRun === undefined;
}

/** Announces a command's last deed, or the first one that nothing can go on without. @throws DryRunEnd in a dry run */
export function announce({ dryRun }: Doer, deed: () => Deed): void {
  if (dryRun === undefined) return;
  dryRun.deeds.push(deed());
  throw new DryRunEnd("a dry run ends here");
}

/** As DSSE's encoding begins: questions to nodes are signed, too. */
const QUESTION = /^DSSEv1 \d+ command\.1 /;
const HEAD_BYTES = 32;

/** A key that does nothing in a dry run, should a deed ever go unannounced. Which commands are questions, `runCommand` knows. */
export function signerIn({ dryRun }: Doer, signer: Signer): Signer {
  if (dryRun === undefined) return signer;
  return {
    alg: signer.alg,
    pub: signer.pub,
    kid: signer.kid,
    sign: async (bytes) => {
      if (QUESTION.test(Buffer.from(bytes.subarray(0, HEAD_BYTES)).toString("latin1")))
        return await signer.sign(bytes);
      throw new SkeinError("INTERNAL", "a dry run was about to sign something");
    },
  };
}
