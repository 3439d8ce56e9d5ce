/** Disks on which every flush takes long, under a real hub and a real node: all takes longer, and nothing is lost. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { Asker, FAST, nextPort, RUN, serverSource, urlOf, writeSource } from "./support/apps.ts";
import { startCluster } from "./support/cluster.ts";
import { noTrace } from "./support/trace.ts";

const FLUSHES = "fsync,fdatasync,syncfs,sync_file_range";
const DELAY_MS = 100;

/** Words before a command that make its disk slow. */
const slowed = (home: string): readonly string[] => {
  const inject = `inject=${FLUSHES}:delay_enter=${DELAY_MS * 1000}`;
  return `strace -f --seccomp-bpf -qq -e trace=${FLUSHES} -e ${inject} -o ${traceOf(home)}`.split(" ");
};

const traceOf = (home: string): string => `${home}.trace`;

const SLOW =
  "where every flush takes a tenth of a second, a deployment ends well and no request is lost (long)";

test(SLOW, { skip: noTrace("test/slow-disk.test.ts") }, async (t) => {
  await using cluster = await startCluster({ signal: t.signal, hubWithin: slowed });
  const node = await cluster.addNode("slow", { within: slowed });
  const port = nextPort();
  const source = async (version: string): Promise<string> =>
    await writeSource(cluster, version, {
      "skein.yaml": `app: shop\n${RUN.replace("auto", String(port))}`,
      "server.js": serverSource(version),
    });
  await cluster.ok("deploy", "--from", await source("v1"), ...FAST);
  await using asker = new Asker(await urlOf(cluster, "shop"), ["v1", "v2"]);
  await cluster.ok("deploy", "--from", await source("v2"), ...FAST);
  asker.unharmed();
  for (const { home } of [cluster.hub, node]) {
    const flushes = (await fs.readFile(traceOf(home), "utf8")).match(/\(DELAYED\)/g) ?? [];
    assert.ok(flushes.length > 10, `${flushes.length} flushes of ${path.basename(home)}`);
  }
});
