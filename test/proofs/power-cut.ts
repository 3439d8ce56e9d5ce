/**
 * Power cuts in the middle of deployments: a node's state lies on a disk image, whose file system is shut down without
 * another byte written while the node is at work; everything that ran is killed, the image is mounted anew, and the
 * node is started. Nothing that it had answered for is lost, nothing is half there, and it ends as ordered.
 * `npm run prove -- power-cut [ROUNDS]`, 12 by default. Needs root, loop devices, mkfs.ext4 and python3.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { hash } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { firstAnswer } from "../support/answers.ts";
import { FAST, nextPort, RUN, serverSource, urlOf, writeSource } from "../support/apps.ts";
import { type AgentProcess, type Cluster, startCluster } from "../support/cluster.ts";
import type { Proof } from "./main.ts";

const run = promisify(execFile);

const ROUNDS = 12;
/** Cuts are spread over this time after a deployment was ordered, in ms: it takes about as long. */
const SPREAD_MS = 900;
/** FS_IOC_SHUTDOWN without flushing the log: what was not written yet is lost, as by a power cut. */
const SHUTDOWN = `import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], 0), 0x8004587d, struct.pack("I", 2))`;
/** Its own commits come so seldom that only what was flushed on purpose is there. */
const MOUNT = 'mkdir -p "$1" && mount -o loop,commit=300 "$0" "$1"';

export const powerCut: Proof = async ([given], say, signal) => {
  await using cluster = await startCluster({ signal });
  const image = path.join(cluster.dir, "disk.img");
  await run("truncate", ["-s", "256M", image]);
  await run("mkfs.ext4", ["-qF", image]);
  const node = await cluster.addNode("cut", {
    within: (home) => [
      "unshare",
      "-m",
      "sh",
      "-c",
      `${MOUNT} && shift && exec "$@"`,
      image,
      path.join(home, "lib"),
    ],
  });
  const port = nextPort();
  await cluster.ok("deploy", "--from", await source(cluster, port, 0), ...FAST);
  const url = await urlOf(cluster, "shop");
  let answered = 0;
  const seen: Record<string, number> = {};
  const rounds = Number(given ?? ROUNDS);
  for (let round = 1; round <= rounds; round++) {
    await cluster.ok("deploy", "--from", await source(cluster, port, round), ...FAST, "--detach");
    await sleep((SPREAD_MS * round) / rounds);
    answered = (await isAnswered(cluster)) ? round : answered;
    await cutPower(cluster, node, image);
    const current = await inspect(image);
    assert.ok(current >= answered && current <= round, `v${current} is there, v${answered} was answered for`);
    const where = current === round ? "after the switch" : "before it";
    seen[where] = (seen[where] ?? 0) + 1;
    await node.start();
    await firstAnswer(url, `v${round}`, signal);
    await cluster.until("it is answered for", async () => await isAnswered(cluster));
    answered = round;
  }
  say(`${rounds} cuts (${JSON.stringify(seen)}): nothing lost, nothing half there, each ended as ordered`);
};

async function source(cluster: Cluster, port: number, version: number): Promise<string> {
  return await writeSource(cluster, `v${version}`, {
    "skein.yaml": `app: shop\n${RUN.replace("auto", String(port))}`,
    "server.js": serverSource(`v${version}`),
    version: `${version}`,
    ...Object.fromEntries(partsOf(version)),
  });
}

/** Some more files, by name. */
function partsOf(version: number): (readonly [name: string, text: string])[] {
  const names = Array.from({ length: 40 }, (_, n) => `part-${n + 10}`);
  return names.map((name) => [name, `${name} of v${version}\n`.repeat(300)] as const);
}

/** Has the node's receipt of the newest order reached the hub? */
async function isAnswered(cluster: Cluster): Promise<boolean> {
  const { client } = await cluster.operator();
  const [app] = await client.app("shop", "default", cluster.signal);
  if (!app?.head) return false;
  const { nodes } = await client.rollout(app.head.digest, cluster.signal);
  return nodes.every(({ verdict }) => verdict === "ok");
}

async function cutPower(cluster: Cluster, node: AgentProcess, image: string): Promise<void> {
  await run("python3", ["-c", SHUTDOWN, `/proc/${node.pid}/root${path.join(node.home, "lib")}`]);
  await node.powerOff();
  // The last of what was killed lets go of the disk a moment after its end; until then it would be mounted as it is.
  await cluster.until("the disk is free", async () => (await run("losetup", ["-j", image])).stdout === "");
  await fs.rm(path.join(node.home, "run"), { recursive: true, force: true }); // a tmpfs on a real machine
}

/** What is on the disk: the version that `current` leads to, whole. An install that is not finished may be in pieces. */
async function inspect(image: string): Promise<number> {
  const look = `${MOUNT} && cd "$1" && find state apps -name .install -prune -o -type f -size 0 -not -name .lock -print && cd apps/shop/current && cat part-* | sha256sum && cat version`;
  const { stdout } = await run("unshare", ["-m", "sh", "-c", look, image, "/mnt"]);
  const lines = stdout.trim().split("\n");
  assert.equal(lines.length, 2, `empty files: ${stdout}`);
  const version = Number(lines[1]);
  assert.equal(
    lines[0]?.split(" ")[0],
    hash(
      "sha256",
      partsOf(version)
        .map(([, text]) => text)
        .join(""),
    ),
  );
  return version;
}
