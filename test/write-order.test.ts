/**
 * Every durable write of a node over whole deployments, as strace sees it: written aside, flushed, renamed, its folder
 * flushed, and all of that before what depends on it. And a hub's store: flushed before anybody is told.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { childProgram } from "../src/lib/testing/child.fixture.ts";
import { Asker, FAST, nextPort, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { startCluster } from "./support/cluster.ts";
import {
  type Call,
  flushAfter,
  folderOf,
  madeBy,
  noTrace,
  readTrace,
  target,
  unflushed,
} from "./support/trace.ts";

const TRACED = "openat,rename,renameat,renameat2,fsync,fdatasync,syncfs,symlink,symlinkat,mkdir,mkdirat";

test(
  "a deployment's every step is on the disk before the next one (long)",
  { skip: noTrace("test/write-order.test.ts") },
  async (t) => {
    await using cluster = await startCluster({ signal: t.signal });
    const trace = path.join(cluster.dir, "trace");
    const strace = ["strace", "-f", "-qq", "-y", "-s", "400", "-o", trace, "-e", `trace=${TRACED}`];
    const node = await cluster.addNode("traced", { within: () => strace });
    const port = nextPort();
    const source = async (version: string): Promise<string> =>
      await writeSource(cluster, version, {
        "skein.yaml": `app: shop\n${RUN.replace("auto", String(port))}`,
        "server.js": serverSource(version),
        "post-sync.sh": ":",
      });
    await cluster.ok("deploy", "--from", await source("v1"), ...FAST);
    {
      await using asker = new Asker(await urlOf(cluster, "shop"), ["v1", "v2"]);
      await cluster.ok("deploy", "--from", await source("v2"), ...FAST);
      asker.unharmed();
    }
    const lib = path.join(node.home, "lib");
    const calls = readTrace(await fs.readFile(trace, "utf8"));
    const durable = calls.flatMap((call, at) => (isDurable(target(call), lib) ? [at] : []));
    for (const at of durable) checkRename(calls, at);
    t.diagnostic(`${durable.length} durable renames of ${calls.length} calls`);
    assert.ok(durable.length > 20);
    assert.equal(checkDeployments(calls, lib), 2);
  },
);

test(
  "what a store acknowledged was flushed before, and one flush serves all who wait",
  { skip: noTrace("test/write-order.test.ts") },
  async (t) => {
    const dir = await fs.mkdtemp(path.join(await fs.realpath(os.tmpdir()), "skein-store-"));
    t.after(async () => await fs.rm(dir, { recursive: true }));
    const [trace, file] = [path.join(dir, "trace"), path.join(dir, "store.db")];
    const writer = childProgram(import.meta.dirname, "../src/store/store-writer.child.ts");
    const strace = ["-f", "-qq", "-y", "-o", trace, "-e", "trace=pwrite64,write,fsync,fdatasync"];
    const child = spawn("strace", [...strace, process.execPath, writer, file], { stdio: "ignore" });
    assert.deepEqual(await once(child, "exit"), [0, null]);
    const [acknowledged, flushes] = checkAcknowledged(readTrace(await fs.readFile(trace, "utf8")), file);
    assert.equal(acknowledged, 160);
    assert.ok(flushes * 2 <= acknowledged, `${flushes} flushes`);
  },
);

/** @returns how often the writer said that something is stored, and how often its journal was flushed until then */
function checkAcknowledged(calls: readonly Call[], file: string): readonly [number, number] {
  let [acknowledged, flushes] = [0, 0];
  let isFlushed = true;
  for (const { name, on, flags, words } of calls) {
    if (on === `${file}-wal`) {
      isFlushed = name.endsWith("sync");
      if (isFlushed) flushes += 1;
    } else if (name === "write" && flags.startsWith("1<")) {
      assert.ok(isFlushed, `${words[0]} was acknowledged before it was on the disk`);
      acknowledged += 1;
    }
  }
  return [acknowledged, flushes];
}

/**
 * The cache and the app's own data may be lost in a power cut; what is moved within an install that is not finished
 * counts when the whole takes its name.
 */
function isDurable(file: string | undefined, lib: string): boolean {
  if (file === undefined || !file.startsWith(`${lib}/`)) return false;
  return !/^(?:cache|chunks)\/|\/data\/|\.stage\//.test(path.relative(lib, file));
}

function checkRename(calls: readonly Call[], at: number): void {
  const [from = "", to = ""] = calls[at]?.words ?? [];
  const made = madeBy(calls, from, at);
  assert.ok(made, `${from} was never made`);
  const { name } = made.call;
  if (name.startsWith("mkdir")) {
    const left = unflushed(calls, from, made.at, at);
    assert.deepEqual(left, [], `${to}: not everything below was flushed before the rename`);
  } else if (name === "openat") {
    const flushed = flushAfter(calls, from, made.at);
    assert.ok(flushed >= 0 && flushed < at, `${to}: it was not flushed before the rename`);
  }
  assert.ok(flushAfter(calls, folderOf(to), at) > at, `${to}: its folder was not flushed after the rename`);
}

/** @returns how many releases went the whole way */
function checkDeployments(calls: readonly Call[], lib: string): number {
  const state = path.join(lib, "state");
  const after = (from: number, is: (file: string) => boolean): number =>
    calls.findIndex((call, at) => at > from && is(target(call) ?? ""));
  let releases = 0;
  for (const [at, call] of calls.entries()) {
    const release = /\/apps\/shop\/revs\/([0-9a-f]{32})$/.exec(target(call) ?? "")?.[1];
    if (release === undefined) continue;
    releases += 1;
    const accepted = calls.findLastIndex((one, n) => n < at && folderOf(target(one) ?? "") === state);
    assert.ok(
      accepted >= 0 && flushAfter(calls, state, accepted) < at,
      "the order was on the disk before its release",
    );
    const installed = flushAfter(calls, path.join(lib, "apps/shop/revs"), at);
    const link = calls.findIndex(
      ({ name, words }) => name.startsWith("symlink") && words[0] === `revs/${release}`,
    );
    const current = after(link, (file) => file === path.join(lib, "apps/shop/current"));
    assert.ok(installed < current, "the release was on the disk before current led there");
    const flipped = flushAfter(calls, path.join(lib, "apps/shop"), current);
    const receipt = after(at, (file) => folderOf(file) === path.join(state, "receipts"));
    assert.ok(flipped > current && flipped < receipt, "current was on the disk before the receipt said so");
  }
  return releases;
}
