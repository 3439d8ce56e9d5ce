import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { answer, ended, settleOf, world, type Ordered, type World } from "./agent.fixture.ts";
import { endKeeper } from "./runtime/runtime.fixture.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { watchful, WINDOW_MS } from "./watchful.fixture.ts";

/** Passed on the way to a new version, in this order; `:n` is the n-th passage. */
const FORWARD = [
  "agent.document-kept",
  "agent.node-save",
  "agent.node-saved",
  "agent.node-save:2",
  "agent.started",
  "agent.record-save",
  "agent.record-saved",
  "agent.begun",
  "agent.install",
  "install.planned",
  "install.filled",
  "install.recorded",
  "install.renamed",
  "agent.installed",
  "agent.hook-post-sync",
  "agent.hooked-post-sync",
  "agent.judge",
  "agent.hook-verify",
  "agent.verified",
  "agent.judged",
  "agent.hook-pre-jump",
  "agent.hooked-pre-jump",
  "agent.hook-un-jump",
  "agent.hooked-un-jump",
  "agent.flip",
  "agent.flipped",
  "agent.attach",
  "agent.attached",
  "agent.record-save:8",
  "agent.hook-post-jump",
  "agent.hooked-post-jump",
  "agent.retire",
  "agent.retired",
  "agent.finish-marked",
  "agent.receipt-queued",
  "agent.answered",
  "agent.finished",
  "agent.remove",
  "install.moved",
  "install.unrecorded",
  "agent.collected",
  "agent.receipt-delivered",
] as const;

/** Passed where the new version's post-jump fails. */
const BACK = [
  "agent.turned-back",
  "agent.hooked-un-jump:2",
  "agent.hooked-pre-jump:2",
  "agent.back-flip",
  "agent.back-flipped",
  "agent.back-attach",
  "agent.back-attached",
  "agent.back-drop",
  "agent.back-dropped",
  "agent.answered",
  "agent.finished",
] as const;

const webSource = (version: string): string =>
  `require("node:http").createServer((q, r) => r.end("${version}")).listen(process.env.PORT, process.env.HOST);`;

const tree = (port: number, version: string, postJump: string): Record<string, string> => ({
  "skein.yaml": `app: shop
processes:
  web: { run: node web.js, listen: ${port}, drain: { window: ${WINDOW_MS}ms, within: 20s } }
verify: sh verify.sh
keep: { releases: 2, good: 1 }
`,
  "web.js": webSource(version),
  "verify.sh": `[ "$(curl -s "http://$SKEIN_ADDRESS_HTTP/")" = "${version}" ] || [ ! -x /usr/bin/curl ]`,
  "post-sync.sh": ":",
  "pre-jump.sh": ":",
  "un-jump.sh": ":",
  "pre-remove.sh": ":",
  "post-jump.sh": postJump,
});

/** The same with a process that is only reached through the port table. */
const withSay = (port: number, version: string): Record<string, string> => ({
  "skein.yaml": `app: shop
processes:
  web: { run: node web.js, listen: ${port}, drain: { window: ${WINDOW_MS}ms, within: 20s } }
  say: { run: node say.js, listen: { say: { port: auto } }, drain: { window: ${WINDOW_MS}ms, within: 20s } }
`,
  "web.js": webSource(version),
  "say.js": webSource(version),
});

async function stopped(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await ended(child);
}

interface Sweep {
  readonly w: World;
  /** A new order; what it must end with is in `expects`. */
  readonly offer: () => Promise<Ordered>;
  readonly expects: (ordered: Ordered, fault: string) => Promise<void>;
}

/**
 * Starts an agent that dies at each fault in turn. What one leaves unfinished the next one finishes, or dies of: so
 * every start is a restart after a crash, and each order's end is checked whoever brought it about.
 */
async function sweep({ w, offer, expects }: Sweep, faults: readonly string[]): Promise<void> {
  let ordered: Ordered | undefined;
  for (const fault of faults) {
    const child = w.child(fault);
    for (let answered = 0; child.signalCode === null; answered += 1) {
      assert.ok(answered < 4, `${fault} was never passed`);
      ordered ??= await offer();
      const { digest } = ordered;
      const first = await Promise.race([ended(child).then(() => undefined), w.receipt(digest)]);
      if (first === undefined) break;
      await expects(ordered, fault);
      ordered = undefined;
      await sleep(150);
    }
    assert.equal(child.signalCode, "SIGKILL", fault);
  }
  const last = w.child();
  if (ordered !== undefined) await expects(ordered, "the end");
  await stopped(last);
}

const QUARTER = Math.ceil(FORWARD.length / 4);

for (const [n, name] of ["first", "second", "third", "last"].entries()) {
  const faults = FORWARD.slice(n * QUARTER, (n + 1) * QUARTER);
  test(`an agent killed at any point of a deployment converges at its next start, and nobody notices: ${name} quarter (long)`, async (t) => {
    const { w, port, load, good } = await serving(t);
    let version = 0;
    await sweep(
      {
        w,
        offer: async () => {
          const next = `v${(version += 1)}`;
          good.add(next);
          return await w.deploy(tree(port, next, ":"));
        },
        expects: async (ordered, fault) => {
          const receipt = await w.receipt(ordered.digest);
          assert.deepEqual([fault, receipt.verdict, receipt.message], [fault, "ok", null]);
          await eventually(`v${version}`, async () => (await answer(port)) === `v${version}`);
          assert.equal(w.current(), ordered.release, fault);
          assert.deepEqual(load.bad, [], fault);
        },
      },
      faults,
    );
    t.diagnostic(
      `${faults.length} points, ${await load.end()} requests, ${load.bad.length} lost, ${load.late.length} asked too late`,
    );
  });
}

test("an agent killed at any point of its own undo goes back at its next start (long)", async (t) => {
  const { w, port, load, good } = await serving(t);
  const current = w.current();
  let version = 0;
  await sweep(
    {
      w,
      offer: async () => {
        const bad = `x${(version += 1)}`;
        good.add(bad);
        return await w.deploy(tree(port, bad, "exit 1"));
      },
      expects: async (ordered, fault) => {
        const receipt = await w.receipt(ordered.digest);
        assert.deepEqual([fault, receipt.verdict, receipt.code], [fault, "failed", "HOOK_FAILED"]);
        await eventually("v0 again", async () => (await answer(port)) === "v0");
        assert.equal(w.current(), current, fault);
        assert.deepEqual(load.bad, [], fault);
      },
    },
    BACK,
  );
  t.diagnostic(
    `${BACK.length} points, ${await load.end()} requests, ${load.bad.length} lost, ${load.late.length} asked too late`,
  );
});

test("an agent killed between two old releases that it tidies away ends the rest at its next start (long)", async (t) => {
  const { w, port, load, good } = await serving(t);
  const child = w.child("agent.tidied");
  const says = async (count: number): Promise<void> => {
    await eventually(`${count} say`, async () => {
      const rows = w.report()?.instances.filter(({ process }) => process === "say") ?? [];
      return rows.length === count;
    });
  };
  let last: Ordered | undefined;
  for (const version of ["v1", "v2", "v3"]) {
    good.add(version);
    last = await w.deploy(withSay(port, version));
    assert.equal((await w.receipt(last.digest)).verdict, "ok");
  }
  assert.ok(last);
  await says(3); // others may look them up until the order stands everywhere
  w.offer({ settles: [{ settle: await settleOf(w.cluster, last), receipts: [] }] });
  assert.equal((await ended(child)).signal, "SIGKILL");
  const next = w.child();
  await says(1);
  assert.equal(await answer(port), "v3");
  assert.deepEqual(load.bad, []);
  await stopped(next);
});

test("an agent killed while it stops an app, starts it, or has what is ordered already, ends that at its next start (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  const child = w.child();
  await w.receipt((await w.deploy(tree(port, "v0", ":"))).digest);
  await stopped(child);
  const release = w.offered.releases[0]!;
  let orders = 0;
  await sweep(
    {
      w,
      offer: async () => {
        const ordered = await w.order(release, { state: orders++ % 3 === 0 ? "stopped" : "run" });
        w.offer({ orders: [ordered.envelope], gates: { [ordered.digest]: "go" } });
        return ordered;
      },
      expects: async ({ order, digest }, fault) => {
        const { verdict, message } = await w.receipt(digest);
        assert.deepEqual([fault, verdict, message], [fault, "ok", null]);
        const answered = order.state === "stopped" ? "nobody" : "v0";
        await eventually(answered, async () => (await answer(port).catch(() => "nobody")) === answered);
      },
    },
    ["agent.halt", "agent.halted", "agent.adopted"],
  );
  await endKeeper(w.paths.run);
  assert.equal((await ended(w.child("agent.revive"))).signal, "SIGKILL");
  const next = w.child();
  await eventually("v0 after the next boot", async () => (await answer(port).catch(() => "")) === "v0");
  await stopped(next);
});

async function serving(t: TestContext) {
  const w = await world(t);
  const port = await freePort();
  const good = new Set(["v0"]);
  const child = w.child();
  await w.receipt((await w.deploy(tree(port, "v0", ":"))).digest);
  await stopped(child);
  const load = watchful(port, good);
  atEnd(t, async () => load.end());
  return { w, port, load, good };
}
