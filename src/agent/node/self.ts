import { SkeinError } from "../../lib/errors/errors.ts";
import type { Identity } from "../../trust/members/identity.ts";
import type { NodeKeys } from "./node-keys.ts";
import type { NodeStore } from "./node-store.ts";

/**
 * Who this node is: what its birth certificate says. One that only pulls from a bucket may have none: then it is
 * called as its machine is, and has no labels.
 * @param called null: a node must have joined
 * @throws SkeinError NOT_JOINED
 */
export function selfOf({ state }: NodeStore, { signer }: NodeKeys, called: string | null): Identity {
  if (state.identity !== null) return state.identity;
  if (called !== null) return { node: signer.kid, name: called, labels: {}, serial: 0 };
  throw new SkeinError("NOT_JOINED", "this machine has not joined a cluster");
}
