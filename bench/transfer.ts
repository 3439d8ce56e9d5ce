/**
 * Bytes, time and CPU of an update, against what people use for it, between two network namespaces. Needs root for
 * those; prepares trees and programs here, where the network is, and measures in a process of its own.
 */
import { spawn } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline/promises";
import type { Bench, Figure } from "./bench.ts";
import { UNSHARE } from "./transfer/namespace.ts";
import { isPairName, PAIR_NAMES, pairOf, type Pair, type PairName } from "./transfer/pairs.ts";
import { needPrograms } from "./transfer/programs.ts";
import { EXTRAS, type Extra, isExtra, type Work } from "./transfer/work.ts";

const QUICK: readonly PairName[] = ["ts", "hashed", "moved", "packed"];
const QUICK_EXTRAS: readonly Extra[] = ["unchanged", "simulated"];

export const bench: Bench = async function* ({ quick, signal }) {
  await needPrograms(signal);
  const chosen = process.env["SKEIN_BENCH_PAIRS"]?.split(",");
  const names = chosen?.filter(isPairName) ?? (quick ? QUICK : PAIR_NAMES);
  const extras = chosen?.filter(isExtra) ?? (quick ? QUICK_EXTRAS : EXTRAS);
  const pairs: Pair[] = [];
  for (const name of names) pairs.push(await pairOf(name, signal));
  const dir = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), "skein-transfer-")));
  try {
    await fs.chmod(dir, 0o755); // apps have users of their own
    yield* measured({ dir, quick, pairs, extras }, signal);
  } finally {
    await fs.rm(dir, { recursive: true, force: true, maxRetries: 5 });
  }
};

/** The figures that a process in namespaces of its own prints. Killing it ends everything that it started. */
async function* measured(work: Work, signal: AbortSignal): AsyncGenerator<Figure> {
  const [command, ...words] = UNSHARE;
  const script = path.join(import.meta.dirname, "peers/transfer-inside.ts");
  const args = [...words, process.execPath, script, JSON.stringify(work)];
  // Clusters make their folders in it too.
  const env = { ...process.env, TMPDIR: work.dir };
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const kill = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill, { once: true });
  try {
    for await (const line of createInterface(child.stdout)) yield JSON.parse(line) as Figure;
    const code = await ended;
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`the measuring ended with ${code}`);
  } finally {
    signal.removeEventListener("abort", kill);
    kill();
    await ended;
  }
}
