import path from "node:path";
import * as z from "zod";
import { readIfThere, writeFileAtomic } from "../../lib/files.ts";
import type { OpenPackage } from "./open.ts";

/** Orders that were read once and are for other machines, and who this one was then. Losing it costs a read. */
const passedSchema = z.strictObject({ self: z.string(), names: z.array(z.string()).max(64) });

export async function passedBefore(open: OpenPackage): Promise<ReadonlySet<string>> {
  try {
    const { self, names } = passedSchema.parse(JSON.parse((await readIfThere(fileOf(open))) ?? ""));
    return new Set(self === selfText(open) ? names : []);
  } catch {
    return new Set();
  }
}

export async function passBy(open: OpenPackage, names: readonly string[]): Promise<void> {
  await writeFileAtomic(fileOf(open), JSON.stringify({ self: selfText(open), names: names.slice(-64) }));
}

const fileOf = ({ place }: OpenPackage): string => path.join(place.state, "others.json");

/** Another name or label, and an order may be for this machine after all. */
const selfText = ({ store }: OpenPackage): string => JSON.stringify(store.state.identity);
