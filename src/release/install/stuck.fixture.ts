import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";

/** For tests that need `chattr`: it takes root, and a file system that knows of it. */
export const sticking = { skip: !canStick() && "chattr +i cannot be done here" };

/** Makes a file or folder immutable (`i`) or append-only (`a`), until the test ends, wherever below `under` it is then. */
export function stick(t: TestContext, flag: "i" | "a", at: string, under: string): void {
  const { ino } = fs.lstatSync(at);
  assert.equal(spawnSync("chattr", [`+${flag}`, at]).status, 0);
  atEnd(t, () => {
    const found = spawnSync("find", [under, "-inum", String(ino)], { encoding: "utf8" });
    for (const one of found.stdout.split("\n").filter(Boolean)) unstick(one, flag);
  });
}

export function unstick(at: string, flag: "i" | "a" = "i"): void {
  spawnSync("chattr", [`-${flag}`, at]);
}

function canStick(): boolean {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-chattr-"));
  const { status } = spawnSync("chattr", ["+i", dir]);
  unstick(dir);
  fs.rmdirSync(dir);
  return status === 0;
}
