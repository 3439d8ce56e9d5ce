import fs from "node:fs/promises";
import path from "node:path";
import { faultPoint } from "../../lib/process/fault.ts";
import { syncDirectory } from "../../lib/disk/files.ts";
import { isDigest, type Digest } from "../../lib/text/ids.ts";
import type { Log } from "../../lib/process/log.ts";
import { digestOfEnvelope, parseEnvelope, type Envelope } from "../../trust/document/envelope.ts";
import { readOwn } from "../node/own-file.ts";
import type { Records } from "../plan/records.ts";
import type { WriteFile } from "../node/reserve.ts";

/** Signed receipts that are still to be delivered, one file each: `<receipt digest>.json`. */
export interface Outbox {
  /** Durable when it resolves. */
  put(receipt: Envelope): Promise<void>;
  readonly isEmpty: boolean;
  /**
   * At most `max` to be sent now; their order tells nothing, since each names its own. What was offered least goes
   * first: a hub that knows nothing of many old orders takes none of their receipts, and they hold up no others.
   */
  offer(max: number): readonly Envelope[];
  /** Forgets what somebody stored durably. */
  delivered(receipts: readonly Digest[]): Promise<void>;
}

/** @param records have the newest ones as well: one that is damaged in here is delivered nevertheless */
export async function openOutbox(
  dir: string,
  write: WriteFile,
  records: Pick<Records, "all">,
  log: Log,
): Promise<Outbox> {
  await fs.mkdir(dir, { recursive: true, mode: 0o700 });
  const known = records.all().flatMap(({ lastReceipt }) => lastReceipt ?? []);
  const waiting = new Map<Digest, { readonly receipt: Envelope; offered: number }>();
  for (const name of await fs.readdir(dir)) {
    const digest = name.slice(0, -".json".length);
    const isOurs = name.endsWith(".json") && isDigest(digest);
    const read = isOurs ? await readOwn(path.join(dir, name), parseEnvelope, log) : undefined;
    const receipt = read ?? known.find((one) => digestOfEnvelope(one) === digest);
    if (receipt !== undefined && isOurs) waiting.set(digest, { receipt, offered: 0 });
    else await fs.rm(path.join(dir, name), { force: true });
  }
  return {
    async put(receipt) {
      const digest = digestOfEnvelope(receipt);
      await write(path.join(dir, `${digest}.json`), JSON.stringify(receipt));
      faultPoint("agent.receipt-queued");
      waiting.set(digest, { receipt, offered: 0 });
    },
    get isEmpty() {
      return waiting.size === 0;
    },
    offer(max) {
      const some = [...waiting.values()].sort((a, b) => a.offered - b.offered).slice(0, max);
      for (const one of some) one.offered += 1;
      return some.map(({ receipt }) => receipt);
    },
    async delivered(receipts) {
      const ours = receipts.filter((digest) => waiting.has(digest));
      if (ours.length === 0) return;
      faultPoint("agent.receipt-delivered");
      for (const digest of ours) {
        await fs.rm(path.join(dir, `${digest}.json`), { force: true });
        waiting.delete(digest);
      }
      await syncDirectory(dir);
    },
  };
}
