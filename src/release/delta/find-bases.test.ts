import assert from "node:assert/strict";
import { test } from "node:test";
import type { Digest } from "../../lib/text/ids.ts";
import type { FileRow } from "../tree/rows.ts";
import { leadsFor } from "./find-bases.ts";
import { OldFiles } from "./tree-state.ts";

const rowOf = (path: string, size: number, n: number): FileRow => ({
  kind: "f",
  path,
  size,
  sha256: n.toString(16).padStart(64, "0") as Digest,
});

function candidatesFor(
  sizes: readonly number[],
  oldSizes: readonly number[],
): readonly (readonly number[])[] {
  const rows = oldSizes.map((size, n) => rowOf(`old/a${n}b.js`, size, n));
  const fresh = sizes.map((size, n) => ({ size, own: undefined, row: rowOf(`new/c${n}d.js`, size, -n) }));
  const paths = new Set(fresh.map(({ row }) => row.path));
  return leadsFor(fresh, new OldFiles({ rows, times: [] }), paths).map(({ candidates }) => candidates);
}

test("of files that went, those of the nearest sizes are looked at, and none that is eight times another", () => {
  const oldSizes = Array.from({ length: 300 }, (_, n) => 1 + ((n * 7919) % 40_000));
  const sizes = [256, 257, 900, 5000, 39_999, 40_000, 200_000, 400_000];
  const ratio = (a: number, b: number): number => Math.max(a, b) / Math.min(a, b);
  for (const [n, candidates] of candidatesFor(sizes, oldSizes).entries()) {
    const size = sizes[n] ?? 0;
    const found = candidates.map((index) => ratio(oldSizes[index] ?? 0, size));
    const all = oldSizes.map((other) => ratio(other, size)).filter((one) => one <= 8);
    assert.deepEqual(found, all.sort((a, b) => a - b).slice(0, 24), `${size}`);
    assert.equal(new Set(candidates).size, candidates.length);
  }
});

test("where ten thousand files have other names, finding their likes takes no minutes", () => {
  const sizes = Array.from({ length: 10_000 }, (_, n) => 300 + ((n * 104_729) % 5000));
  const workedMs = (): number => process.threadCpuUsage().user / 1000; // a busy machine takes longer
  const began = workedMs();
  assert.equal(candidatesFor(sizes, sizes.toReversed()).length, 10_000);
  const tookMs = workedMs() - began;
  assert.ok(tookMs < 15_000, `${Math.round(tookMs)} ms`);
});
