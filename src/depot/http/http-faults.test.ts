import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { badHub } from "./bad-hub.fixture.ts";
import { depotFaultsConformance, type BadDepot } from "../seam/depot-faults.conformance.ts";
import type { DepotReader } from "../seam/depot.ts";
import { httpDepot } from "./http-depot.ts";

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
