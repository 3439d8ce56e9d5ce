import assert from "node:assert/strict";
import { PassThrough, Readable, Writable } from "node:stream";
import { buffer } from "node:stream/consumers";
import test from "node:test";
import * as fc from "fast-check";
import { Packets, passOn } from "./answer.ts";

const packet = (payload: string): string => (payload.length + 4).toString(16).padStart(4, "0") + payload;

test("packets come out whole, however the bytes are cut, and what is none as it is", () => {
  const one = fc.oneof(
    fc.constantFrom("0000", "0001", "0002"),
    fc.stringMatching(/^[a-z]{1,20}$/).map(packet),
  );
  const end = fc.constantFrom("", "PACK, and so on", "00", "0010half");
  fc.assert(
    fc.property(fc.array(one), end, fc.array(fc.nat(200)), (whole, rest, cuts) => {
      const bytes = Buffer.from(whole.join("") + rest);
      const packets = new Packets();
      const found: string[] = [];
      const places = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      for (const [at, place] of places.entries())
        for (const part of packets.push(bytes.subarray(places[at - 1] ?? 0, place)))
          found.push(part.bytes.toString());
      assert.deepEqual(found.slice(0, whole.length), whole);
      assert.equal(found.slice(whole.length).join("") + packets.rest.toString(), rest);
    }),
  );
});

const passed = async (said: string, holdsReport = false, why?: string) => {
  const output = new PassThrough();
  const read = buffer(output);
  const answer = await passOn(Readable.from([Buffer.from(said)]), output, {
    explain: async () => why,
    holdsReport,
  });
  output.end();
  return { ...answer, text: (await read).toString() };
};

test("a failure is explained before it is passed on, and nothing else is", async () => {
  const failed = packet(`\u0001${packet("unpack index-pack abnormal exit\n")}0000`);
  const lacking = packet(
    `\u0001${packet("unpack ok\n")}${packet("ng refs/heads/a missing necessary objects\n")}0000`,
  );
  const well = packet(`\u0001${packet("unpack ok\n")}${packet("ok refs/heads/a\n")}0000`);
  const fatal = packet("\u0003died");
  for (const said of [failed, lacking, fatal])
    assert.equal((await passed(`${said}0000`, false, "why")).text, `${packet("\u0002why\n")}${said}0000`);
  assert.equal((await passed(packet("ERR no"), false, "why")).text, packet("ERR no\nwhy"));
  assert.equal((await passed(`${well}0000`, false, "why")).text, `${well}0000`);
  assert.equal((await passed(`${failed}0000`)).text, `${failed}0000`);
});

test("a report is held back with all that follows it", async () => {
  const refs = `${packet("refs")}0000`;
  for (const report of [packet("unpack ok\n"), packet(`\u0001${packet("unpack ok\n")}`)]) {
    const { text, held } = await passed(`${refs}${packet("\u0002going")}${report}0000`, true);
    assert.equal(text, `${refs}${packet("\u0002going")}`);
    assert.equal(Buffer.concat(held).toString(), `${report}0000`);
  }
});

test("data goes on as it comes, and what is inside it is taken for no failure", () => {
  const data = packet(`\u0001${"x".repeat(100)}0000\u0003ERR ERR `);
  const packets = new Packets();
  const parts = [data.slice(0, 109), data.slice(109, 114), `${data.slice(114)}0000`].map((piece) => [
    ...packets.push(Buffer.from(piece)),
  ]);
  assert.deepEqual(
    parts.map((some) => some.map(({ bytes, isPacket }) => [bytes.length, isPacket])),
    [
      [[109, false]],
      [[5, false]],
      [
        [data.length - 114, false],
        [4, true],
      ],
    ],
  );
});

test("a client whose line breaks while it is waited for ends the answer, and is no failure of git's", async () => {
  const cut = new Writable({
    highWaterMark: 1,
    write(_bytes, _encoding, _done) {
      setImmediate(() => this.destroy(new Error("ECONNRESET")));
    },
  });
  cut.on("error", () => undefined);
  const said = Readable.from([Buffer.from(packet("refs")), Buffer.from(packet("more"))]);
  const { isBegun, isFailed } = await passOn(said, cut, { explain: async () => undefined });
  assert.deepEqual([isBegun, isFailed], [true, false]);
});
