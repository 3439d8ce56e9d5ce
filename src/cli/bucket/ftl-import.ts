import { openBucket } from "../../bucket/bucket.ts";
import { importFtl } from "../../operator/bucket/import-ftl.ts";
import { operatorHere } from "./operator-here.ts";
import type { Context, Result } from "../command/context.ts";
import type { PlaceFlags } from "../command/has-bucket.ts";
import { bucketAddress, bucketHere } from "./ftl-settings.ts";
import { tellTrouble } from "../terminal/report-error.ts";

/** Each revision on a line: what it was called, and what it is called now. */
export async function importOld(
  context: Context,
  address: string,
  packages: readonly string[],
  flags: PlaceFlags,
): Promise<Result> {
  const { env, signal, io } = context;
  using bucket = await bucketHere(flags, context, "writing");
  using old = await openBucket(bucketAddress({ bucket: address }), {
    env: process.env,
    writing: false,
    signal,
  });
  const operator = await operatorHere(context, bucket, `skein ftl import ${address}`);
  const exits: number[] = [];
  const imported = await importFtl(operator, old.files, {
    packages,
    env,
    onImported: ({ from, to, active, trouble }) => {
      if (trouble !== null) exits.push(tellTrouble(io, from, trouble));
      else io.print(`${from}  ${to ?? ""}${active ? "  active" : ""}`);
    },
    signal,
  });
  return { imported, ...(exits.length === 0 ? {} : { exit: Math.max(...exits) }) };
}
