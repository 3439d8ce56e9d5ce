import { createHash, type Hash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { digestOf, type Digest } from "../../lib/text/ids.ts";
import { plainEntries, tempDir, writeTree, type Tree } from "../release.fixture.ts";
import { arrange } from "../tree/arrange.ts";
import { isFileRow, treeIdOf, encodeRow, type FileRow, type Row } from "../tree/rows.ts";
import { applyDelta, type FreshSink, type OldTree } from "./apply-delta.ts";
import { encodeHere } from "./encode-batch.ts";
import { encodeDelta, planDelta, type Encoder } from "./encode-delta.ts";
import type { TreeState } from "./tree-state.ts";

/** For tests: a tree on this disk, as an install of it would be. */
export interface TreeOnDisk {
  readonly dir: string;
  readonly state: TreeState;
  readonly files: readonly FileRow[];
}

/** Contents that `before` has keep their times. */
export function treeOnDisk(t: TestContext, tree: Tree, time: number, before?: TreeOnDisk): TreeOnDisk {
  const dir = writeTree(path.join(tempDir(t), "tree"), tree);
  const rows = arrange(plainEntries(dir, "")).map((entry): Row => {
    if (entry.kind === "d") return { kind: "d", path: entry.path };
    if (entry.kind === "l") return { kind: "l", path: entry.path, target: entry.target };
    const { kind, path: at, size } = entry;
    return { kind, path: at, size, sha256: digestOf(fs.readFileSync(path.join(dir, at))) };
  });
  const known = new Map<Digest, number>();
  for (const [i, { sha256 }] of (before?.files ?? []).entries())
    known.set(sha256, before?.state.times[i] ?? time);
  const files = rows.filter(isFileRow);
  return { dir, files, state: { rows, times: files.map(({ sha256 }) => known.get(sha256) ?? time) } };
}

const contentOf = (tree: TreeOnDisk, row: FileRow | undefined) => ({
  file: path.join(tree.dir, row?.path ?? ""),
  offset: 0,
});

export async function deltaBetween(
  from: TreeOnDisk,
  to: TreeOnDisk,
  encoder: Encoder = encodeHere,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const contents = {
    old: (index: number) => contentOf(from, from.files[index]),
    fresh: (row: FileRow) => contentOf(to, row),
  };
  await encodeDelta(planDelta(from.state, to.state), contents, encoder, (bytes) => pieces.push(bytes));
  return Buffer.concat(pieces);
}

/** Only hashes what comes. */
export class HashingSink implements FreshSink {
  readonly #buffer = Buffer.alloc(100_000);
  #sum: Hash = createHash("sha256");
  /** Bytes of contents so far. */
  bytes = 0;

  expect(): void {
    this.bytes = 0;
  }

  begin(): void {
    this.#sum = createHash("sha256");
  }

  space(): Buffer | Promise<Buffer> {
    return this.#buffer;
  }

  filled(length: number): void {
    this.#sum.update(this.#buffer.subarray(0, length));
    this.bytes += length;
  }

  end(): Digest {
    return this.#sum.digest("hex") as Digest;
  }
}

/** What a receiver makes of a delta that arrives in pieces of `step` bytes. */
export async function follow(
  from: TreeOnDisk,
  delta: Buffer,
  signal: AbortSignal,
  step = 1000,
  isTimes: OldTree["isTimes"] = () => false,
): Promise<TreeState> {
  const pieces = async function* (): AsyncGenerator<Uint8Array, void> {
    for (let at = 0; at < delta.length; at += step) yield delta.subarray(at, at + step);
  };
  const content = (index: number) => contentOf(from, from.files[index]);
  return await applyDelta(pieces(), { state: from.state, content, isTimes }, new HashingSink(), signal);
}

export const treeId = ({ rows }: TreeState): string =>
  treeIdOf(rows.map((row) => Buffer.from(encodeRow(row))));
