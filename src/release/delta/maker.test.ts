import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { programFile } from "../../lib/process/program.ts";
import { publish } from "../publish/publish.ts";
import { makeWorld, noise, plainSource, type World } from "../release.fixture.ts";
import type { PublishedTree } from "../tree/published.ts";

/** A file that takes seconds to be laid against another. */
async function publishLarge(world: World, seed: number, signal: AbortSignal): Promise<PublishedTree> {
  const dir = path.join(world.dir, `large-${seed}`);
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, "image"), noise(1_000_000, seed));
  fs.truncateSync(path.join(dir, "image"), 256 * 1024 * 1024);
  const common = { depot: world.depot, previous: null, now: 1_700_000_000_000, cacheDir: null, signal };
  const { tree, rows, since } = await publish({ source: plainSource(dir), ...common });
  return { tree, rows, since };
}

const filesOf = (pid: number | undefined): string[] => {
  const folder = `/proc/${pid}/fd`;
  return fs.readdirSync(folder).map((fd) => fs.readlinkSync(path.join(folder, fd)));
};

test("a signal ends a maker at once, amid a large file too", async (t) => {
  const world = makeWorld(t);
  const from = await publishLarge(world, 1, t.signal);
  const to = await publishLarge(world, 3, t.signal);
  const child = spawn(process.execPath, [programFile("deltaMaker")], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  atEnd(t, () => child.kill("SIGKILL"));
  const ended = once(child, "exit");
  child.stdin.end(
    JSON.stringify({ depot: path.join(world.dir, "depot"), scratch: world.dir, to, from: [from] }),
  );
  await eventually("its scratch file", () =>
    filesOf(child.pid).some((file) => file.startsWith(world.dir) && file.includes("/scratch")),
  );
  child.kill("SIGTERM");
  assert.deepEqual(await ended, [null, "SIGTERM"]);
});
