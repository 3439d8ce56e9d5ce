import assert from "node:assert/strict";
import { test } from "node:test";
import { freeNow } from "../../lib/memory/free.ts";
import { noise } from "../release.fixture.ts";
import { SectionOpener } from "./section-opener.ts";
import { SectionPacker } from "./section-packer.ts";
import { freeFrame, openFrame, packFrame } from "./zstd.ts";

const MIB = 1024 * 1024;

test("a section goes on from block to block, also where it begins a faster frame", async () => {
  using packer = new SectionPacker(150_000);
  using opener = new SectionOpener();
  const repeated = noise(100_000, 3);
  const anew: boolean[] = [];
  const lengths: number[] = [];
  for (const raw of [repeated, repeated, noise(10, 4), repeated, noise(5000, 9)]) {
    const { bytes, isAnew, isStored } = await packer.pack(raw, false);
    assert.equal(isStored, false);
    assert.deepEqual(await opener.open(bytes, raw.length, isAnew), raw);
    anew.push(isAnew);
    lengths.push(bytes.length);
  }
  assert.deepEqual(anew, [true, false, true, false, false]);
  assert.ok((lengths[1] ?? Infinity) < 100, "what the block before had is referred to");
});

test("a section that inflates further or less far than its block says is refused", async () => {
  for (const length of [999, 1001]) {
    using packer = new SectionPacker();
    using opener = new SectionOpener();
    const { bytes } = await packer.pack(Buffer.alloc(1000, "ab"), false);
    await assert.rejects(opener.open(bytes, length, true), { code: "DELTA_CORRUPT" });
  }
});

test("a section that would inflate to gigabytes is stopped at its length", async () => {
  using packer = new SectionPacker();
  using opener = new SectionOpener();
  const { bytes } = await packer.pack(Buffer.alloc(24 * 1024 * 1024), true);
  assert.ok(bytes.length < 10_000);
  await assert.rejects(opener.open(bytes, 1000, true), { code: "DELTA_CORRUPT" });
  await assert.rejects(opener.open(bytes, 1000, false), { code: "DELTA_CORRUPT" });
});

test("a section that never began is refused", async () => {
  using opener = new SectionOpener();
  await assert.rejects(opener.open(Buffer.from("abc"), 3, false), { code: "DELTA_CORRUPT" });
});

test("sections and frames give back what they were made in, without waiting for the collector", async () => {
  using packer = new SectionPacker();
  using opener = new SectionOpener();
  const raw = Buffer.alloc(MIB, "ab");
  const held = (): number => process.memoryUsage().arrayBuffers;
  const before = held();
  let most = 0;
  for (let block = 0; block < 24; block++) {
    const { bytes, isAnew } = await packer.pack(raw, false);
    freeNow(await opener.open(bytes, raw.length, isAnew));
    most = Math.max(most, held() - before);
  }
  for (const size of [1000, 40_000, 200_000]) {
    const frame = packFrame(raw.subarray(0, size), 3);
    for (let content = 0; content < 200; content++) {
      const bytes = openFrame(frame, size);
      assert.ok(bytes.equals(raw.subarray(0, size)));
      freeFrame(bytes);
      assert.equal(bytes.length, 0);
      most = Math.max(most, held() - before);
    }
  }
  assert.ok(most < 8 * MIB, `${most / MIB} MiB were held`);
});
