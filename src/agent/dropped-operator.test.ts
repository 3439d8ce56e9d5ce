/** Who deployed a release may be an operator no more when the node starts again. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import type { Charter } from "../trust/document/documents.ts";
import { readUnverified, seal, type Envelope } from "../trust/document/envelope.ts";
import { timeOf } from "../trust/document/fields.ts";
import { answer, world, type World } from "./agent.fixture.ts";
import { endKeeper } from "./runtime/runtime.fixture.ts";

const NOT_ROOT = process.getuid?.() !== 0 && "only root can run an app as root";

const tree = (port: number, version: string, user = "auto"): Record<string, string> => ({
  "skein.yaml": `app: shop
user: ${user}
processes: { web: { run: node web.js, listen: ${port}, drain: { window: 50ms, within: 20s } } }
`,
  "web.js": `require("node:http").createServer((q, r) => r.end("${version}" + (process.getuid() === 0 && "${user}" === "root" ? " of root" : ""))).listen(process.env.PORT, process.env.HOST);`,
});

/** The chain of a cluster that takes bob in, and then drops him. */
async function chain({ cluster: { alice, bob, charter, envelope } }: World): Promise<Envelope[]> {
  const { [bob.kid]: _bob, ...others } = charter.operators;
  const made = [{ ...others, [bob.kid]: { name: "bob", allow: ["deploy:*/*", "root:*/*"] } }, others].map(
    (operators, i): Charter => ({ ...charter, version: i + 2, issued: timeOf(Date.now()), operators }),
  );
  return [envelope, ...(await Promise.all(made.map(async (body) => await seal("charter.1", body, [alice]))))];
}

/** Bob deploys `files`, a charter drops him, the machine starts again. @returns what answers then */
async function afterReboot(w: World, files: Record<string, string>, port: number): Promise<string> {
  const { bob } = w.cluster;
  const charters = await chain(w);
  w.offer({ charters: charters.slice(0, 2) });
  const stop = await w.agent();
  const made = await w.publish(files);
  const release = await seal("release.1", { ...readUnverified(made, "release.1"), builder: bob.kid }, [bob]);
  const { order, digest } = await w.order(release);
  const orders = [await seal("order.1", order, [bob])];
  w.offer({ orders, releases: [release], gates: { [digest]: "go" } });
  assert.equal((await w.receipt(digest)).verdict, "ok");

  w.offer({ charters });
  const state = path.join(w.paths.lib, "state", "node.json");
  const known = (): number =>
    (JSON.parse(fs.readFileSync(state, "utf8")) as { charters: unknown[] }).charters.length;
  await eventually("the charter without bob", async () => known() === 3 || undefined);
  await stop();
  await endKeeper(w.paths.run);
  fs.rmSync(w.paths.run, { recursive: true, force: true });
  const lines: string[] = [];
  await w.agent({ onLog: (line) => lines.push(line) });
  const served = await eventually("an answer", async () => await answer(port).catch(() => undefined));
  assert.deepEqual(
    lines.filter((line) => line.includes("no valid document")),
    [],
  );
  return served;
}

test("what an operator deployed comes back after a reboot when the charter has dropped the operator (long)", async (t) => {
  const port = await freePort();
  assert.equal(await afterReboot(await world(t), tree(port, "one"), port), "one");
});

test(
  "what ran as root by the right of an operator comes back as root when the charter has dropped the operator (long)",
  { skip: NOT_ROOT },
  async (t) => {
    const port = await freePort();
    assert.equal(await afterReboot(await world(t), tree(port, "one", "root"), port), "one of root");
  },
);

test("a release that somebody else signs anew is taken in the place of a dropped operator's", async (t) => {
  const w = await world(t);
  const { bob } = w.cluster;
  const charters = await chain(w);
  w.offer({ charters: charters.slice(0, 2) });
  await w.agent();
  const port = await freePort();
  const byAlice = await w.publish(tree(port, "two"));
  const byBob = await seal("release.1", { ...readUnverified(byAlice, "release.1"), builder: bob.kid }, [bob]);
  const first = await w.order(byBob);
  // It is kept, and not begun.
  w.offer({ orders: [first.envelope], releases: [byBob], gates: { [first.digest]: "hold" } });
  const kept = path.join(w.paths.lib, "state", "documents");
  await eventually(
    "the document",
    async () => fs.readdirSync(kept).includes(`${first.release}.json`) || undefined,
  );
  w.offer({ charters, gates: { [first.digest]: "go" } });
  const refused = await w.receipt(first.digest);
  assert.deepEqual([refused.verdict, refused.code], ["failed", "ORDER_UNKNOWN_RELEASE"]);

  const again = await w.order(byAlice);
  w.offer({ orders: [again.envelope], releases: [byAlice], gates: { [again.digest]: "go" } });
  assert.equal((await w.receipt(again.digest)).verdict, "ok");
  assert.equal(await answer(port), "two");
});
