import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { processesIn, signalQuietly } from "../test/support/processes.ts";

/** Whoever was told to end may need a moment for it. */
const ENDING_MS = 10_000;
const LOOK_EACH_MS = 50;
const MEMORY = "/dev/shm";
/** Ten times what all tests together were seen to have in it, 150 MiB. */
const ROOM_BYTES = 1536 * 2 ** 20;
/** Some tests make files immutable, where they may. */
const PROBE = '#!/bin/sh\n[ "$(id -u)" != 0 ] || { chattr +i "$0" && chattr -i "$0"; }\n';
const NAME = /^skein-test-(\d+)$/;

/**
 * The folder for temporary files of one run of tests. All that they start names it, in its arguments, its environment
 * or as its working directory: so nothing is left behind, however a run ends. What a killed run left, the next removes.
 */
export class RunFolder {
  readonly path: string;

  constructor() {
    const parent = parentFolder();
    removeLeft(parent);
    this.path = path.join(parent, `skein-test-${process.pid}`);
    fs.mkdirSync(this.path);
    fs.chmodSync(this.path, 0o755); // apps have users of their own
  }

  /** Of a run that was broken off: its tests had no time to close what they had opened. */
  breakOff(): void {
    remove(this.path);
  }

  /** Ends what still runs, and names it: tests close what they open. @returns whether nothing did */
  end(): boolean {
    let left = processesIn(this.path);
    for (let waitedMs = 0; left.length > 0 && waitedMs < ENDING_MS; waitedMs += LOOK_EACH_MS) {
      rest();
      left = processesIn(this.path);
    }
    for (const { pid, command } of left) console.error(`test: left running: ${pid} ${command}`);
    remove(this.path);
    return left.length === 0;
  }
}

/**
 * Memory, where there is enough of it and it can do what a disk can: no test is about a disk's speed, and a third of the
 * time would be the disk's. TMPDIR says otherwise.
 */
function parentFolder(): string {
  if (process.env["TMPDIR"] !== undefined || !hasRoom()) return os.tmpdir();
  const probe = path.join(MEMORY, `skein-probe-${process.pid}`);
  try {
    fs.writeFileSync(probe, PROBE, { mode: 0o700, flag: "wx" });
    return spawnSync(probe).status === 0 ? MEMORY : os.tmpdir();
  } catch {
    return os.tmpdir();
  } finally {
    fs.rmSync(probe, { force: true });
  }
}

function hasRoom(): boolean {
  try {
    const { bsize, bavail } = fs.statfsSync(MEMORY);
    return bsize * bavail >= ROOM_BYTES && os.freemem() >= ROOM_BYTES;
  } catch {
    return false; // there is none
  }
}

function removeLeft(parent: string): void {
  for (const name of fs.readdirSync(parent)) {
    const [, pid] = NAME.exec(name) ?? [];
    const isOver = pid === String(process.pid) || !fs.existsSync(`/proc/${pid}`);
    if (pid !== undefined && isOver) remove(path.join(parent, name));
  }
}

function remove(folder: string): void {
  for (;;) {
    const left = processesIn(folder);
    if (left.length === 0) break;
    for (const { pid } of left) signalQuietly(pid, "SIGKILL");
    rest();
  }
  const options = { recursive: true, force: true, maxRetries: 5 };
  try {
    fs.rmSync(folder, options);
  } catch {
    spawnSync("chattr", ["-Rf", "-ia", folder]); // tests that were broken off left files that may not be removed
    fs.rmSync(folder, options);
  }
}

/** It is called when the process ends, when nothing can be waited for. */
function rest(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_EACH_MS);
}
