import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { SkeinError } from "../../lib/errors/errors.ts";
import { NotConnected } from "../../trust/connection/tls.ts";
import { badHub } from "./bad-hub.fixture.ts";
import { depotFaultsConformance, type BadDepot } from "../seam/depot-faults.conformance.ts";
import type { DepotReader } from "../seam/depot.ts";
import { httpDepot, type BlobTransport } from "./http-depot.ts";

const clock = { now: () => Date.now(), sleep: async () => await Promise.resolve() };

/** A depot of one blob. */
function holding(bytes: Buffer): Pick<DepotReader, "get"> {
  return {
    async *get(_name, _signal, { start, end } = { start: 0 }) {
      yield bytes.subarray(start, end);
    },
  };
}

depotFaultsConformance(
  "http",
  { code: "HUB_UNREACHABLE", tellsSize: false },
  async (t, _name, bytes, patience) => {
    const hub = await badHub(t, holding(bytes));
    const bad: BadDepot = {
      reader: httpDepot(hub.transport, { clock, ...patience }),
      misbehave: () => undefined,
      requests: hub.requests,
    };
    hub.misbehave = (n) => bad.misbehave(n);
    return bad;
  },
);

test("a range that is cut behind its last byte has come", async (t: TestContext) => {
  const bytes = Buffer.alloc(1000, "abc");
  const hub = await badHub(t, holding(bytes));
  hub.misbehave = () => ({ kind: "boast" });
  const pace = { windowMs: 200, leastBytes: 5000 };
  const reader = httpDepot(hub.transport, { clock, pace });
  const came = await Array.fromAsync(reader.get("packs/a", t.signal, { start: 100, end: 400 }));
  assert.ok(Buffer.concat(came).equals(bytes.subarray(100, 400)));
  assert.equal(hub.requests(), 1);
});

test("a question whose answer is lost is asked again, and not where nobody was reached", async (t: TestContext) => {
  const lost = (): Error => new SkeinError("HUB_UNREACHABLE", "did not answer within 30000 ms");
  const unheard = (): Error => new NotConnected("HUB_UNREACHABLE", "no answer within 10000 ms");
  const world = (...failures: (() => Error)[]) => {
    const asked: string[] = [];
    const raw: BlobTransport["raw"] = async ({ path }) => {
      asked.push(path.replace(/\?.*/, ""));
      const failure = failures.shift();
      if (failure !== undefined) throw failure();
      const answer = { have: ["packs/a"], names: ["packs/a"], next: null };
      return await Promise.resolve(Readable.from([Buffer.from(JSON.stringify(answer))]) as IncomingMessage);
    };
    return { asked, depot: httpDepot({ name: "hub", raw }, { clock }) };
  };
  const cut = world(lost, unheard, unheard);
  assert.deepEqual([...(await cut.depot.has(["packs/a"], t.signal))], ["packs/a"]);
  assert.equal(cut.asked.length, 4);
  const listed = world(lost);
  assert.deepEqual(await Array.fromAsync(listed.depot.list("packs/", t.signal)), ["packs/a"]);
  const away = world(unheard, unheard);
  await assert.rejects(away.depot.has(["packs/a"], t.signal), { message: "no answer within 10000 ms" });
  assert.equal(away.asked.length, 1);
});
