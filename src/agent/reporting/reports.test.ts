import assert from "node:assert/strict";
import test from "node:test";
import { MOST_REPORTED } from "../../api/field-schemas.ts";
import { report } from "../../api/schemas.ts";
import { mostAlive, notesOf } from "./reports.ts";

const row = (...unenforced: readonly string[]) =>
  ({ unenforced, state: "serving", instance: "web.1" }) as const;
const noted = (rows: Parameters<typeof notesOf>[0]["rows"], isRoot: boolean) =>
  notesOf({ rows, serving: rows, stuck: null }, isRoot);

test("an app is noted for what its instances have less of, and only while it has some", () => {
  assert.deepEqual(noted([], false), {});
  assert.deepEqual(noted([row()], true), {});
  assert.deepEqual(noted([row()], false), { notes: ["not isolated"] });
  const limited = [row("memory"), row("memory", "cpu")];
  assert.deepEqual(noted(limited, true), { notes: ["limits not enforced: memory, cpu"] });
  assert.deepEqual(noted(limited, false).notes?.length, 2);
});

test("an app of which an instance was stopped is noted for that, each instance once", () => {
  const stopped = (instance: string) => ({ unenforced: [], state: "stopped", instance }) as const;
  const rows = [row(), stopped("web.2"), stopped("web.2"), stopped("job.1")];
  assert.deepEqual(noted(rows, true), { notes: ["stopped by name: web.2, job.1"] });
  const many = Array.from({ length: 99 }, (_, n) => stopped(`web.${n}`));
  assert.equal(noted(many, true).notes?.[0]?.length, 120, "what the hub takes");
  assert.deepEqual(notesOf({ rows, serving: [row()], stuck: null }, true), {}, "of another release");
});

test("a node that had very many apps still reports those that do something, as many as a hub takes", () => {
  const appOf = (n: number, state: string) => ({
    app: `pr-${n}`,
    env: "default",
    release: null,
    state,
    head: null,
  });
  const apps = Array.from({ length: 1500 }, (_, n) => appOf(n, n < 600 ? "stopped" : "running"));
  const told = mostAlive(apps);
  assert.equal(told.length, MOST_REPORTED.apps);
  assert.equal(told.filter(({ state }) => state === "running").length, 900);
  assert.ok(report.shape.apps.safeParse(told).success);
  assert.equal(report.shape.apps.safeParse(apps).success, false);
  assert.deepEqual(mostAlive(apps.slice(0, 3)), apps.slice(0, 3));
});
