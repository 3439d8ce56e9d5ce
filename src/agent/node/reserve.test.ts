import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { openReserve } from "./reserve.ts";

test("room is held from the first start on, given up once for all, and taken again when there is some", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-reserve-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const reserve = path.join(dir, "reserve");
  const record = path.join(dir, "record.json");
  const held = (): number | undefined => fs.statSync(reserve, { throwIfNoEntry: false })?.size;
  await openReserve(dir);
  assert.equal(held(), 2 ** 20);
  const write = await openReserve(dir);
  const { openSync } = fs;
  const { statfs } = fs.promises;
  let isFull = true;
  t.mock.method(fs, "openSync", (...args: Parameters<typeof openSync>) => {
    if (isFull && held() !== undefined && args[1] === "wx")
      throw Object.assign(new Error(), { code: "ENOSPC" });
    return openSync(...args);
  });
  t.mock.method(fs.promises, "statfs", async (at: string) =>
    Object.assign(await statfs(at), { bsize: 1, bavail: isFull ? 2 ** 20 : 2 ** 23 }),
  );
  await Promise.all([write(record, "one"), write(path.join(dir, "other.json"), "two")]);
  assert.deepEqual([fs.readFileSync(record, "utf8"), held()], ["one", undefined]);
  await write(record, "three");
  assert.equal(held(), undefined, "it would leave others too little");
  isFull = false;
  await write(record, "four");
  assert.deepEqual([fs.readFileSync(record, "utf8"), held()], ["four", 2 ** 20]);
});

test("a reserve that is being taken when there is no room any more is given up like any other", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-reserve-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const { openSync } = fs;
  const { open, statfs } = fs.promises;
  let free = 0;
  t.mock.method(fs.promises, "statfs", async (at: string) =>
    Object.assign(await statfs(at), { bsize: 1, bavail: free }),
  );
  const write = await openReserve(dir);
  let refused = 0;
  t.mock.method(fs, "openSync", (...args: Parameters<typeof openSync>) => {
    if (typeof args[0] === "string" && args[0].includes("other") && (refused += 1) === 1)
      throw Object.assign(new Error(), { code: "ENOSPC" });
    return openSync(...args);
  });
  let other: Promise<void> | undefined;
  t.mock.method(fs.promises, "open", async (...args: Parameters<typeof open>) => {
    other = write(path.join(dir, "other.json"), "two");
    await eventually("the other one found no room", () => refused > 0);
    await setImmediate();
    free = 0;
    return await open(...args);
  });
  free = 2 ** 23;
  await write(path.join(dir, "record.json"), "one");
  await other;
  assert.deepEqual(fs.readdirSync(dir).sort(), ["other.json", "record.json"]);
});
