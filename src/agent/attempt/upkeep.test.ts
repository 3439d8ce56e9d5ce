/** What a disk lost, by the first start after it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { freePort } from "../../lib/free-port.fixture.ts";
import { eventually } from "../../lib/eventually.fixture.ts";
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

test("what an app lost on the disk is put back by the next start, and it serves again", async (t) => {
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

test("a release beside one that was restarted is found as it runs, by the next agent and after its keeper's end", async (t) => {
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
