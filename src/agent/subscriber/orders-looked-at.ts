import path from "node:path";
import * as z from "zod";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import { digest } from "../../trust/document/fields.ts";
import type { Looked } from "../source/bucket-offer.ts";
import type { OpenPackage } from "./open-package.ts";

/** What was read of the bucket's orders, and who this machine was then. Losing it costs a read. */
const lookedSchema = z.strictObject({
  self: z.string(),
  orders: z.record(z.string(), z.strictObject({ said: digest, order: digest, isForOthers: z.boolean() })),
});

export async function lookedBefore(open: OpenPackage): Promise<Looked> {
  try {
    const { self, orders } = lookedSchema.parse(JSON.parse((await readIfThere(fileOf(open))) ?? ""));
    return self === selfText(open) ? orders : {};
  } catch {
    return {};
  }
}

export async function keepLooked(open: OpenPackage, orders: Looked): Promise<void> {
  const text = JSON.stringify({ self: selfText(open), orders });
  if ((await readIfThere(fileOf(open))) !== text) await writeFileAtomic(fileOf(open), text);
}

const fileOf = ({ place }: OpenPackage): string => path.join(place.state, "looked.json");

/** Another name or label, and an order may be for this machine after all. */
const selfText = ({ store }: OpenPackage): string => JSON.stringify(store.state.identity);
