import { isDigest, type Digest } from "../../lib/text/ids.ts";
import { usage } from "../command/grammar.ts";
import type { AgentFlags } from "./server-flags.ts";

/** The fingerprint that `--charter` gives: a hub's agent has its cluster from its ticket. @throws SkeinError USAGE */
export function pinTold({ source, charter }: Pick<AgentFlags, "source" | "charter">): Digest | undefined {
  if (charter === undefined) return undefined;
  if (source === undefined)
    throw usage(
      "--charter is for an agent that pulls from a bucket",
      "Add --source, or leave --charter out.",
    );
  if (isDigest(charter)) return charter;
  throw usage("--charter is no fingerprint", "Give the 64 digits that skein init printed.");
}
