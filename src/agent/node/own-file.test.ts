/** Files without their content, as a power cut leaves them on a disk that lied about a flush. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import { digestOf, type ReleaseId } from "../../lib/text/ids.ts";
import { jsonLog, silentLog } from "../../lib/process/log.ts";
import { digestOfEnvelope, parseEnvelope, type Envelope } from "../../trust/document/envelope.ts";
import { newRecord, openRecords } from "../plan/records.ts";
import { openOutbox } from "../attempt/outbox.ts";
import { begunCommands } from "../commands/begun-commands.ts";
import { openStaged } from "../installs/staged.ts";
import { openCapabilities } from "../registry/capabilities.ts";
import { firstHub } from "./join.ts";
import { openKept } from "./kept-documents.ts";

const V1 = "1".repeat(32) as ReleaseId;

function folder(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A log, and which files it called damaged. */
function telling() {
  const told: string[] = [];
  const log = jsonLog((line) => {
    const { file, "err.code": code } = JSON.parse(line) as Record<string, string>;
    assert.equal(code, "STORE_CORRUPT");
    told.push(path.basename(file ?? ""));
  });
  return { log, told };
}

/** One that can be told from another; nobody looks into it here. */
const envelope = (text: string): Envelope =>
  parseEnvelope({ t: "receipt.1", p: Buffer.from(text).toString("base64url"), s: [] });

for (const text of ["", "\0\0\0\0", '{"app":', "[]"]) {
  test(`an app's record that holds ${JSON.stringify(text)} is done without, told, and written anew`, async (t) => {
    const dir = folder(t);
    const { log, told } = telling();
    fs.writeFileSync(path.join(dir, "shop.json"), text);
    const records = await openRecords(dir, writeFileAtomic, log);
    assert.deepEqual([records.all(), told], [[], ["shop.json"]]);
    await records.save(newRecord("shop", "prod"));
    assert.equal((await openRecords(dir, writeFileAtomic, log)).get("shop")?.env, "prod");
  });
}

test("a receipt that is damaged is delivered from the record that has it as well; another is forgotten", async (t) => {
  const dir = folder(t);
  const { log, told } = telling();
  const [kept, lost] = [envelope("kept"), envelope("lost")];
  const files = [kept, lost].map((one) => `${digestOfEnvelope(one)}.json`);
  for (const name of files) fs.writeFileSync(path.join(dir, name), "");
  const records = { all: () => [{ ...newRecord("shop", "prod"), lastReceipt: kept }] };
  const outbox = await openOutbox(dir, writeFileAtomic, records, log);
  assert.deepEqual(outbox.offer(9), [kept]);
  assert.deepEqual([told.toSorted(), fs.readdirSync(dir)], [files.toSorted(), files.slice(0, 1)]);
});

test("a release's document that is damaged is taken again", async (t) => {
  const dir = folder(t);
  const { log, told } = telling();
  const release = envelope("release");
  await (await openKept(dir)).putRelease(V1, release);
  fs.writeFileSync(path.join(dir, `${V1}.json`), "");
  const kept = await openKept(dir, writeFileAtomic, log);
  assert.equal(await kept.release(V1), undefined);
  assert.deepEqual(told, [`${V1}.json`]);
  await kept.putRelease(V1, release);
  assert.deepEqual(await (await openKept(dir)).release(V1), release);
});

test("what was staged, begun and given to callers is done without where it is damaged", async (t) => {
  const dir = folder(t);
  const { log, told } = telling();
  for (const name of ["staged.json", "registry.json", "commands.json"])
    fs.writeFileSync(path.join(dir, name), "");
  const staged = await openStaged(dir, writeFileAtomic, log);
  await staged.add({ app: "shop", env: "prod", release: V1, at: 1 });
  assert.deepEqual((await openStaged(dir)).releases(), [V1]);
  const { port } = await openCapabilities(dir, log);
  assert.equal(port, 0);
  const begun = begunCommands(dir, log);
  assert.equal(await begun.begin(digestOf("one"), 2, 1), true);
  assert.equal(await begunCommands(dir, silentLog).has(digestOf("one")), true);
  assert.deepEqual(told, ["staged.json", "registry.json", "commands.json"]);
});

test("a ticket's hub that is damaged, or cannot be read, is none: the charter lists hubs as well", async (t) => {
  const dir = folder(t);
  fs.writeFileSync(path.join(dir, "hub.json"), "");
  assert.equal(await firstHub(dir), undefined);
  fs.rmSync(path.join(dir, "hub.json"));
  fs.mkdirSync(path.join(dir, "hub.json"));
  assert.equal(await firstHub(dir), undefined);
});
