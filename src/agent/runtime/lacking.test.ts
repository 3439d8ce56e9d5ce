import assert from "node:assert/strict";
import test from "node:test";
import type { InstanceRow } from "./instance-rows.ts";
import { lacking, surplus } from "./lacking.ts";

/** Rows of one instance: one for each of its sockets. */
const rows = (instance: string, state: InstanceRow["state"], sockets = 1): InstanceRow[] =>
  Array.from({ length: sockets }, () => {
    const [process = ""] = instance.split(".");
    return { key: `shop/1/${instance}`, process, instance, state } as InstanceRow;
  });

test("fewer instances serve than should where one is judged, draining or gone, however many sockets each has", () => {
  const wanted = [
    { name: "web", count: 2 },
    { name: "api", count: 1 },
    { name: "idle", count: 0 },
  ];
  assert.deepEqual(lacking([], wanted), [
    { process: "web", serving: 0, wanted: 2 },
    { process: "api", serving: 0, wanted: 1 },
  ]);
  const all = [...rows("web.1", "serving", 2), ...rows("web.2", "serving"), ...rows("api.1", "serving")];
  assert.deepEqual(lacking(all, wanted), []);
  for (const state of ["judging", "draining", "waiting", "stopped", "failed"] as const) {
    const found = [...rows("web.1", "serving", 2), ...rows("web.2", state), ...rows("api.1", "serving")];
    assert.deepEqual(lacking(found, wanted), [{ process: "web", serving: 1, wanted: 2 }], state);
  }
});

test("what runs and is not wanted here is told once, by process and by number", () => {
  const found = [
    ...rows("web.1", "serving"),
    ...rows("web.2", "serving", 2),
    ...rows("old.1", "waiting"),
    ...rows("old.2", "judging"),
    ...rows("old.3", "stopped"),
  ];
  assert.deepEqual(
    surplus(found, [{ name: "web", count: 1 }]).map(({ instance }) => instance),
    ["web.2", "old.1"],
  );
});
