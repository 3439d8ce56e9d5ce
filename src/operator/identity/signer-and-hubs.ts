/** Who this machine's operator is and whom it may ask, without a word to anybody. */
import { listedHubs, type HubAddress } from "../../api/hub-address.ts";
import type { Patience } from "../../api/hub-line.ts";
import type { Clock } from "../../lib/time/clock.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { fileSigner, type Signer } from "../../trust/keys/keys.ts";
import { agentSigner } from "../../trust/keys/ssh-agent.ts";
import { keyFile, wasReached, type OperatorConfig } from "./home.ts";
import type { Paths } from "../../lib/disk/paths.ts";

export async function signerFor(paths: Paths, config: OperatorConfig): Promise<Signer> {
  return config.key.kind === "file"
    ? await fileSigner(keyFile(paths))
    : await agentSigner({ kid: config.key.kid });
}

/** The hubs that may be asked: one that was named, this machine's own list, the charter's. */
export function hubsFor(config: OperatorConfig, charter: Charter, named?: HubAddress): HubAddress[] {
  return [...(named === undefined ? [] : [named]), ...config.hubs, ...listedHubs(charter)];
}

/** A hub that is restarted is back in a second or two; one that is gone is to be told of. */
const PATIENCE_MS = 8000;

/** With a cluster's hubs, once one of them has answered here: before that an address may be wrong. */
export async function patienceWith(
  paths: Paths,
  clock: Clock,
  onWait: Patience["onWait"] | undefined,
): Promise<{ readonly patience?: Patience }> {
  if (onWait === undefined || !(await wasReached(paths))) return {};
  return { patience: { ms: PATIENCE_MS, clock, onWait } };
}
