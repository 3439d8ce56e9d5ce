import assert from "node:assert/strict";
import test from "node:test";
import { answer, eventually, webApp, world } from "./agent.fixture.ts";
import { freePort } from "./runtime/runtime.fixture.ts";

test("a first order is fetched, judged, attached and answered with a receipt", async (t) => {
  const w = await world(t);
  await w.agent();
  const port = await freePort();
  const first = await w.deploy(webApp(port, "one"));
  const receipt = await w.receipt(first.digest);
  assert.deepEqual([receipt.verdict, receipt.code, receipt.release], ["ok", null, first.release]);
  assert.equal(await answer(port), "one");
  assert.equal(w.current(), first.release);
  await eventually("a report of it", async () => {
    const report = w.report();
    return report?.apps[0]?.state === "running" && report.instances[0]?.state === "serving"
      ? true
      : undefined;
  });
});
