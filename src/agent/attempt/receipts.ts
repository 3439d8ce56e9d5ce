import fs from "node:fs/promises";
import path from "node:path";
import { faultPoint } from "../../lib/fault.ts";
import { syncDirectory } from "../../lib/files.ts";
import { isDigest, type Digest } from "../../lib/ids.ts";
import { digestOfEnvelope, parseEnvelope, type Envelope } from "../../trust/envelope.ts";
import type { WriteFile } from "../node/reserve.ts";

/** Signed receipts that are still to be delivered, one file each: `<receipt digest>.json`. */
export interface Outbox {
  /** Durable when it resolves. */
  put(receipt: Envelope): Promise<void>;
  /** At most `max`, in no order that matters: each names its order. */
  waiting(max: number): readonly Envelope[];
  /** Forgets what somebody stored durably. */
  delivered(receipts: readonly Digest[]): Promise<void>;
}

export async function openOutbox(dir: string, write: WriteFile): Promise<Outbox> {
  await fs.mkdir(dir, { recursive: true, mode: 0o700 });
  const waiting = new Map<Digest, Envelope>();
  for (const name of await fs.readdir(dir)) {
    const digest = name.slice(0, -".json".length);
    if (!name.endsWith(".json") || !isDigest(digest)) await fs.rm(path.join(dir, name), { force: true });
    else waiting.set(digest, parseEnvelope(await fs.readFile(path.join(dir, name), "utf8")));
  }
  return {
    async put(receipt) {
      const digest = digestOfEnvelope(receipt);
      await write(path.join(dir, `${digest}.json`), JSON.stringify(receipt));
      faultPoint("agent.receipt-queued");
      waiting.set(digest, receipt);
    },
    waiting: (max) => [...waiting.values()].slice(0, max),
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
