/** What a disk lost, by the first start after it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { labelFor } from "../../trust/cluster.fixture.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { KeeperClient } from "../../keeper/client.ts";
import { answer, webApp, world } from "../agent.fixture.ts";
import { endKeeper } from "../runtime/runtime.fixture.ts";

/** Names below the node's own folder, given what runs. */
const LOST: readonly [what: string, names: (release: string) => readonly string[]][] = [
  ["a file of its release", (release) => [`apps/shop/revs/${release}/web.js`]],
  ["its release's folder", (release) => [`apps/shop/revs/${release}`]],
  ["its release's record", (release) => [`apps/shop/revs/.install/${release}.record`]],
  ["all of the app, and what is known of it", () => ["apps/shop", "state/apps/shop.json"]],
];

test("what an app lost on the disk is put back by the next start, and it serves again (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  let end = await w.agent();
  const { digest, release } = await w.deploy(webApp(port, "v1"), { settle: true });
  assert.equal((await w.receipt(digest)).verdict, "ok");
  for (const [what, names] of LOST) {
    await end();
    await endKeeper(w.paths.run);
    for (const name of names(release)) fs.rmSync(path.join(w.paths.lib, name), { recursive: true });
    end = await w.agent();
    await eventually(`without ${what} it serves again`, async () => (await answer(port)) === "v1");
    await eventually("it is current", () => w.current() === release);
  }
});

/** What runs, as the keeper has it: keys and process ids. */
async function kept(run: string): Promise<Map<string, number | null>> {
  await using client = await KeeperClient.connect(path.join(run, "keeper.sock"));
  const { instances } = await client.call("list", {});
  return new Map(instances.map(({ spec, pid }) => [spec.key, pid]));
}

async function stopNamed(run: string, name: string): Promise<void> {
  await using client = await KeeperClient.connect(path.join(run, "keeper.sock"));
  const { instances } = await client.call("list", {});
  for (const { spec } of instances)
    if (spec.key.endsWith(`/${name}`)) await client.call("stop", { key: spec.key });
}

test("a release beside one that was restarted is found as it runs, by the next agent and after its keeper's end (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  let end = await w.agent();
  const ordered = async (change: Parameters<typeof w.order>[1]): Promise<void> => {
    const { envelope, digest } = await w.order(w.offered.releases[1]!, change);
    w.offer({ orders: [envelope], gates: { [digest]: "go" } });
    assert.equal((await w.receipt(digest)).verdict, "ok");
  };
  const one = await w.deploy(webApp(port, "v1"));
  assert.equal((await w.receipt(one.digest)).verdict, "ok");
  const beside = [one.release];
  const two = await w.deploy(webApp(port, "v2"), { beside });
  assert.equal((await w.receipt(two.digest)).verdict, "ok");
  await ordered({ beside, generation: 1 });
  const before = await kept(w.paths.run);
  assert.equal(before.size, 2);
  for (const keeperEnds of [false, true]) {
    await end();
    if (keeperEnds) await endKeeper(w.paths.run);
    end = await w.agent();
    // It looks round before it takes this one up.
    await ordered({ beside, generation: 1 });
    const after = await kept(w.paths.run);
    assert.equal(after.size, 2, [...after.keys()].join(" "));
    if (!keeperEnds) assert.deepEqual(after, before);
  }
});

test("an order for what runs in part starts what is missing, ends what the labels do not ask for, and leaves the rest (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const process = (on: string): string => `{ run: node idle.js, on: ${on}, drain: { within: 1s } }`;
  const first = await w.deploy(
    webApp(port, "v1", {
      "skein.yaml": `app: shop\nprocesses:\n  web: { run: node web.js, listen: ${port}, count: 2 }\n  was: ${process("zone!=b")}\n  is: ${process("zone=b")}\n`,
      "idle.js": "setInterval(() => {}, 1000)",
    }),
  );
  assert.equal((await w.receipt(first.digest)).verdict, "ok");
  const named = async (): Promise<Map<string, number | null>> => {
    const all = [...(await kept(w.paths.run))].filter(([, pid]) => pid !== null);
    return new Map(all.map(([key, pid]) => [key.slice(key.lastIndexOf("/") + 1), pid]));
  };
  const before = await named();
  assert.deepEqual([...before.keys()].sort(), ["was.1", "web.1", "web.2"]);
  await stopNamed(w.paths.run, "web.2");
  w.offer({
    label: await labelFor(w.cluster.alice, w.node.signer.kid, {
      name: "n1",
      labels: { role: "web", zone: "b" },
      issued: timeOf(Date.now()),
    }),
  });
  const { envelope, digest } = await w.order(w.offered.releases[0]!);
  w.offer({ orders: [envelope], gates: { [digest]: "go" } });
  assert.equal((await w.receipt(digest)).verdict, "ok");
  const after = await named();
  assert.deepEqual([...after.keys()].sort(), ["is.1", "web.1", "web.2"]);
  assert.equal(after.get("web.1"), before.get("web.1"), "what serves is left alone");
});
