import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import { silentLog } from "../../lib/process/log.ts";
import { digestOfEnvelope, parseEnvelope, type Envelope } from "../../trust/document/envelope.ts";
import type { Records } from "../plan/records.ts";
import { openOutbox } from "./outbox.ts";

const receipt = (text: string): Envelope =>
  parseEnvelope({ t: "receipt.1", p: Buffer.from(text).toString("base64url"), s: [] });

test("receipts that nobody takes hold up none that come later, and are offered again all the same", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-outbox-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const outbox = await openOutbox(dir, writeFileAtomic, { all: () => [] }, silentLog);
  assert.equal(outbox.isEmpty, true);
  const old = Array.from({ length: 5 }, (_, n) => receipt(`of a forgotten order ${n}`));
  for (const one of old) await outbox.put(one);
  assert.deepEqual(outbox.offer(4), old.slice(0, 4));
  const newest = receipt("of the newest order");
  await outbox.put(newest);
  assert.deepEqual(new Set(outbox.offer(2)), new Set([old[4], newest]));
  await outbox.delivered([digestOfEnvelope(newest)]);
  assert.deepEqual(new Set(outbox.offer(5)), new Set(old));
  await outbox.delivered(old.map((one) => digestOfEnvelope(one)));
  assert.deepEqual([outbox.isEmpty, fs.readdirSync(dir)], [true, []]);
});

test("what was queued is there after a restart, also damaged where the records have it, and what else lies there goes", async (t) => {
  const dir = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "skein-outbox-")), "made", "outbox");
  atEnd(t, () => fs.rmSync(path.dirname(path.dirname(dir)), { recursive: true, force: true }));
  const [whole, damaged, lost] = ["whole", "damaged", "lost"].map(receipt) as [Envelope, Envelope, Envelope];
  const records = { all: () => [{ lastReceipt: whole }, { lastReceipt: damaged }] } as unknown as Records;
  const before = await openOutbox(dir, writeFileAtomic, { all: () => [] }, silentLog);
  for (const one of [whole, damaged, lost]) await before.put(one);
  const fileOf = (one: Envelope): string => `${digestOfEnvelope(one)}.json`;
  for (const one of [damaged, lost]) fs.writeFileSync(path.join(dir, fileOf(one)), "");
  // Neither is a receipt's name.
  fs.writeFileSync(path.join(dir, "half.json"), JSON.stringify(whole));
  fs.writeFileSync(path.join(dir, `${digestOfEnvelope(whole)}.part`), JSON.stringify(whole));
  const outbox = await openOutbox(dir, writeFileAtomic, records, silentLog);
  assert.deepEqual(new Set(outbox.offer(9)), new Set([whole, damaged]));
  assert.deepEqual(fs.readdirSync(dir).sort(), [whole, damaged].map(fileOf).sort());
  await outbox.delivered([digestOfEnvelope(lost)]);
  await outbox.delivered([digestOfEnvelope(lost), digestOfEnvelope(whole)]);
  assert.deepEqual(fs.readdirSync(dir), [fileOf(damaged)]);
});
