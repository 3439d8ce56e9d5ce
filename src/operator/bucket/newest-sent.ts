import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import { jsonIn } from "../../lib/text/json.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import type { AppEnv } from "../../lib/text/ids.ts";
import type { Order } from "../../trust/document/documents.ts";
import { clusterId, count } from "../../trust/document/fields.ts";
import type { HeldOrder } from "../order/order.ts";
import type { BucketOperator } from "./bucket-operator.ts";
import { keptFile } from "./kept-file.ts";

/**
 * The serial of the newest order that this machine brought to a bucket. Where the bucket has less, it was set back, and
 * machines that had seen the order take none with a serial up to its own: they would be lost to whoever orders next.
 */
const newestSchema = z.strictObject({ cluster: clusterId, epoch: count, seq: count });

export async function keepNewest(operator: BucketOperator, order: Order): Promise<void> {
  const file = newestFile(operator, order);
  const { cluster, epoch, seq } = order;
  await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await writeFileAtomic(file, JSON.stringify({ cluster, epoch, seq }));
}

/** The serial of the newest order of the charter's epoch that went to the bucket from here; 0: none did. */
export async function newestSent(operator: BucketOperator, name: AppEnv): Promise<number> {
  const text = await readIfThere(newestFile(operator, name));
  const newest = newestSchema.safeParse(text === undefined ? undefined : jsonIn(text)).data;
  const { cluster, epoch } = operator.charter;
  return newest?.cluster === cluster && newest.epoch === epoch ? newest.seq : 0;
}

/**
 * The serial that a bucket had and has no more; null: it has all that went to it from here.
 * @param newest what had gone to it before its head was read
 */
export function lostSeq(newest: number, { charter }: BucketOperator, head: HeldOrder | null): number | null {
  const has = head?.order.epoch === charter.epoch ? head.order.seq : 0;
  return has < newest ? newest : null;
}

const newestFile = (operator: BucketOperator, name: AppEnv): string => keptFile(operator, name, "in-bucket");
