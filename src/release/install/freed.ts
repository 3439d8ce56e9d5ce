import path from "node:path";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { openRecord } from "../record/install-record.ts";
import { statOf } from "./fill-from-here.ts";
import { isFileRow } from "../tree/rows.ts";

/** Bytes on the disk that go with these installs: a file that others share by hard links goes with the last of them. */
export function freedBytes(revs: string, releases: readonly ReleaseId[]): number {
  const files = new Map<number, { names: number; readonly links: number; readonly bytes: number }>();
  for (const id of releases) {
    using record = openRecord(revs, id);
    const rows = record?.segments.flatMap((_, n) => record.rowsOf(n)) ?? [];
    for (const row of rows.filter(isFileRow)) {
      const stat = statOf(path.join(revs, id, row.path));
      if (stat === undefined || !stat.isFile()) continue;
      const known = files.get(stat.ino) ?? { names: 0, links: stat.nlink, bytes: stat.blocks * 512 };
      known.names += 1;
      files.set(stat.ino, known);
    }
  }
  return [...files.values()]
    .filter(({ names, links }) => names >= links)
    .reduce((sum, { bytes }) => sum + bytes, 0);
}
