import { SkeinError } from "../../lib/errors/errors.ts";
import { refuseForeign, refuseFuture } from "../charter/charter.ts";
import type { Charter } from "../document/documents.ts";
import { openEnvelope, readUnverified, type Opened } from "../document/envelope.ts";
import { keyIdOf } from "../keys/keys.ts";

/**
 * Where a node says that it may be reached. It proves no membership (a birth certificate does), and whoever connects
 * still checks the key that it finds there.
 * @throws SkeinError WRONG_CLUSTER, DOC_*
 */
export function openEndpoint(charter: Charter, source: unknown, now: number): Opened<"endpoint.1"> {
  const claimed = readUnverified(source, "endpoint.1");
  refuseForeign("endpoint", claimed.cluster, charter);
  const key = { alg: "raw", pub: claimed.key } as const;
  if (keyIdOf(key) !== claimed.node) {
    throw new SkeinError("DOC_UNSIGNED", "an endpoint whose key is not its node's", {
      data: { node: claimed.node },
    });
  }
  const opened = openEnvelope(source, "endpoint.1", new Map([[claimed.node, key]]), 1);
  refuseFuture("endpoint", opened.body.at, now);
  return opened;
}
