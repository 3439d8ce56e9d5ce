import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import test from "node:test";
import { promisify } from "node:util";
import zlib from "node:zlib";
import {
  contentIn,
  contentOf,
  decode,
  encode,
  encodeContent,
  partOf,
  sharedOf,
  type Content,
} from "./body-coding.ts";
import { packJson } from "./packed-json.ts";

const envelope = { t: "ticket.1", p: randomBytes(400).toString("base64url"), s: [] };
const fields = {
  incarnation: "1",
  catchingUp: false,
  duplicate: false,
  charters: [envelope],
  identity: { ticket: envelope, enrol: envelope, label: null, revoke: null },
  apps: [],
  commands: [],
};

const wholeOf = (said: object): Content => contentOf([partOf(JSON.stringify(said))]);
const textOf = ({ parts }: Content): Buffer => Buffer.concat(parts);

test("an answer's content is known by its etag, without what belongs to the moment", () => {
  const content = wholeOf(fields);
  const answer = { etag: content.etag, ...fields, lastReceipts: [envelope] };
  assert.deepEqual(contentIn(JSON.parse(JSON.stringify(answer))), content);
  assert.equal(contentIn({ ...answer, duplicate: true }), undefined);
  assert.equal(contentIn({ ...answer, more: 1 }), undefined);
  assert.equal(contentIn(undefined), undefined);
});

test("what is coded after a content costs what is new in it", async () => {
  const content = sharedOf(wholeOf(fields));
  const news = Buffer.from(JSON.stringify({ ...fields, commands: ["something"] }));
  const coded = await encode(news, content);
  assert.ok(coded.length < 64, String(coded.length));
  assert.deepEqual(await decode(coded, 10_000, content), news);
  assert.deepEqual(await decode(await encode(news), 10_000), news);
  // Short, and says much.
  const long = Buffer.alloc(300_000);
  assert.deepEqual(await decode(await encode(long), 300_000), long);
});

test("an answer is coded as its JSON is, whatever was packed apart and before", async () => {
  const held = wholeOf(fields);
  const said = Buffer.from(JSON.stringify({ boot: "ab".repeat(30), receipts: [envelope] }));
  const shared = sharedOf(held, said);
  const next = wholeOf({ ...fields, commands: [envelope] });
  const json = Buffer.from(`{"etag":"${next.etag}",${textOf(next).toString("utf8").slice(1)}`);
  for (let time = 0; time < 2; time++) {
    const coded = await encodeContent(next, shared);
    assert.deepEqual(coded, await encode(json, shared));
    assert.deepEqual(await decode(coded, 10_000, shared), json);
  }
  const text = textOf(next).toString("utf8");
  const cut = text.indexOf('"commands"');
  const inParts = contentOf([partOf(text.slice(0, cut)), partOf(text.slice(cut))]);
  assert.equal(inParts.etag, next.etag);
  assert.deepEqual(await encodeContent(inParts, shared), await encode(json, shared));
  assert.deepEqual(await decode(await encode(said, sharedOf(inParts)), 10_000, sharedOf(next)), said);
  const together = packJson(Buffer.concat([textOf(held), said]));
  assert.deepEqual(
    Buffer.concat([packJson(textOf(held)), packJson(said)]),
    together,
    "as older sides pack it",
  );
});

test("a content that is larger than a window's usual size is found in whole", async () => {
  const many = {
    ...fields,
    charters: Array.from({ length: 2000 }, () => ({ ...envelope, p: randomBytes(400).toString("hex") })),
  };
  const content = wholeOf(many);
  const coded = await encode(textOf(content), sharedOf(content));
  assert.ok(coded.length < 1000, String(coded.length));
  assert.deepEqual(await decode(coded, textOf(content).length, sharedOf(content)), textOf(content));
});

test("a body that would inflate past its bound is refused, and so is one that wants too large a window", async () => {
  const bomb = zlib.zstdCompressSync(Buffer.alloc(50_000_000));
  assert.ok(bomb.length < 10_000);
  await assert.rejects(decode(bomb, 1_000_000), { code: "DOC_TOO_BIG" });
  // Flushed before its end, a frame says its window and not its length.
  const frame = zlib.createZstdCompress({ params: { [zlib.constants.ZSTD_c_windowLog]: 27 } });
  frame.write("{}", () => frame.flush(() => frame.end(" ")));
  const greedy = Buffer.concat(await (frame as AsyncIterable<Buffer> & typeof frame).toArray());
  await assert.rejects(decode(greedy, 1_000_000), { code: "BAD_REQUEST" });
});

test("a body that is no zstd, or cut, or coded after something else, is refused", async () => {
  const body = await encode(Buffer.from(JSON.stringify(fields)));
  await assert.rejects(decode(Buffer.from("{}"), 1000), { code: "BAD_REQUEST" });
  await assert.rejects(decode(body.subarray(0, 20), 10_000), { code: "BAD_REQUEST" });
});

test("hundreds of large bodies that are coded at once take the memory of a few (long)", async () => {
  const module = new URL("./body-coding.ts", import.meta.url).href;
  const script = `
    import { randomBytes } from "node:crypto";
    import { readFileSync } from "node:fs";
    import { encode, sharedOf } from ${JSON.stringify(module)};
    const peak = () => Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
    const body = () => Buffer.from(JSON.stringify(Array.from({ length: 2000 }, () => randomBytes(16).toString("hex"))));
    const held = sharedOf({ etag: "one", parts: [body()] });
    const next = body();
    const before = peak();
    await Promise.all(Array.from({ length: 300 }, async () => await encode(next, held)));
    console.log(Math.round(peak() - before));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
  // All at once they take over 500 MiB.
  assert.ok(Number(stdout) < 250, `${stdout.trim()} MiB more`);
});
