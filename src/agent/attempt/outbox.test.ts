import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import { silentLog } from "../../lib/process/log.ts";
import { digestOfEnvelope, parseEnvelope, type Envelope } from "../../trust/document/envelope.ts";
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
