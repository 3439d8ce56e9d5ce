import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { openLog, rotate, type LogFile } from "../../keeper/log-file.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { placesArgument, placesFor, type LogPlaces } from "../../api/log-places.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { followLogs, type LogAt, type LogLine } from "./log-lines.ts";

interface Log {
  write(bytes: string | Buffer): void;
  rotate(): void;
  /** What `skein logs` gives. */
  follow(lines: number, signal?: AbortSignal): AsyncGenerator<LogLine, void>;
  /** The same for who follows, and was cut off meanwhile. */
  goOn(after: LogPlaces | undefined, signal: AbortSignal): AsyncGenerator<LogLine | LogAt, void>;
}

async function* linesOf(told: AsyncIterable<LogLine | LogAt>): AsyncGenerator<LogLine, void> {
  for await (const one of told) if (one.type === "line") yield one;
}

function log(t: TestContext): Log {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-log-"));
  const file: LogFile = { file: path.join(dir, "shop/web.1.log"), maxBytes: 1, keep: 2 };
  const fd = openLog(file);
  atEnd(t, () => {
    fs.closeSync(fd);
    fs.rmSync(dir, { recursive: true });
  });
  return {
    write: (bytes) => void fs.writeSync(fd, Buffer.from(bytes)),
    rotate: () => rotate({ ...file, maxBytes: fs.fstatSync(fd).size - 1 }),
    follow: (lines, signal) =>
      linesOf(
        followLogs(
          dir,
          "shop",
          { process: undefined, lines, follow: signal !== undefined },
          signal ?? t.signal,
        ),
      ),
    goOn: (after, signal) =>
      followLogs(
        dir,
        "shop",
        { process: undefined, lines: 0, follow: true, places: true, after },
        AbortSignal.any([signal, t.signal]),
      ),
  };
}

async function all(lines: AsyncGenerator<LogLine, void>): Promise<string[]> {
  return (await Array.fromAsync(lines)).map(({ line }) => line);
}

/** The first lines of somebody who follows; the lines that come while he looks are written by `then`. */
async function followed(
  shop: Log,
  count: number,
  then: (seen: readonly string[]) => void,
): Promise<string[]> {
  const over = new AbortController();
  const seen: string[] = [];
  for await (const { line } of shop.follow(10, over.signal)) {
    seen.push(line);
    if (seen.length === count) over.abort();
    else then(seen);
  }
  return seen;
}

test("a character that is read in two parts is one", async (t) => {
  const shop = log(t);
  const snowman = Buffer.from("\u2603\n");
  shop.write("a\n");
  shop.write(snowman.subarray(0, 2));
  assert.deepEqual(await followed(shop, 2, () => shop.write(snowman.subarray(2))), ["a", "\u2603"]);
});

test("of a line without end its begin is told when it ends, and no more of it is held", async (t) => {
  const shop = log(t);
  const piece = "x".repeat(60_000);
  shop.write("a\n");
  const seen = await followed(shop, 3, ({ length }) => {
    if (length > 1) return;
    for (let n = 0; n < 10; n++) shop.write(piece);
    shop.write("\nb\n");
  });
  assert.deepEqual(seen, ["a", `${"x".repeat(65_536)}…`, "b"]);
});

test("who follows misses nothing of what was written before a rotation", async (t) => {
  const shop = log(t);
  shop.write("the first one\ntw");
  const seen = await followed(shop, 4, ({ length }) => {
    if (length > 1) return;
    shop.write("o\nthr");
    shop.rotate();
    shop.write("ee\nfour\n");
  });
  assert.deepEqual(seen, ["the first one", "two", "three", "four"]);
});

test("the last lines go back into the log that was rotated last", async (t) => {
  const shop = log(t);
  shop.write("one\ntwo\nthr");
  assert.deepEqual(await all(shop.follow(10)), ["one", "two", "thr"]);
  assert.deepEqual(await all(shop.follow(1)), ["thr"], "the last words of a program often have no end");
  shop.rotate();
  shop.write("ee\nfour\n");
  assert.deepEqual(await all(shop.follow(10)), ["one", "two", "three", "four"]);
  assert.deepEqual(await all(shop.follow(2)), ["three", "four"]);
  shop.rotate();
  assert.deepEqual(await all(shop.follow(1)), ["four"]);
});

test("what a process called hooks prints is not mixed with what hooks print", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-log-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true }));
  fs.mkdirSync(path.join(dir, "shop"));
  for (const name of ["hooks", "hooks.1", "web.1", "web.2"])
    fs.writeFileSync(path.join(dir, `shop/${name}.log`), `${name}\n`);
  const of = async (process: string): Promise<string[]> =>
    await all(linesOf(followLogs(dir, "shop", { process, lines: 9, follow: false }, t.signal)));
  assert.deepEqual(await of("hooks"), ["hooks"]);
  assert.deepEqual(await of("hooks.1"), ["hooks.1"]);
  assert.deepEqual(await of("web"), ["web.1", "web.2"]);
});

/** Reads `count` more lines, as somebody who is cut off after them. @returns them, and how far that was */
async function someMore(
  shop: Log,
  after: LogPlaces | undefined,
  count: number,
): Promise<{ readonly lines: readonly string[]; readonly places: LogPlaces }> {
  const over = new AbortController();
  const lines: string[] = [];
  const places = new Map(after);
  for await (const one of shop.goOn(after, over.signal)) {
    const { at, lines: since } = places.get(one.instance) ?? { at: 0, lines: 0 };
    if (one.type === "at") places.set(one.instance, { at: one.at, lines: 0 });
    else if (lines.push(one.line) > 0) places.set(one.instance, { at, lines: since + 1 });
    if (one.type === "line" ? lines.length === count : count === 0) break;
  }
  over.abort();
  const node = "a".repeat(32) as KeyId;
  return { lines, places: placesFor(placesArgument(new Map([[node, places]])), node) ?? new Map() };
}

test("who was cut off goes on after the last line that came, wherever that was", async (t) => {
  const shop = log(t);
  shop.write("old\nolder\n");
  const none = await someMore(shop, undefined, 0);
  assert.deepEqual(none.lines, []);
  shop.write("one\ntw");
  const one = await someMore(shop, none.places, 1);
  shop.write("o\n\u2603\nthree\n");
  const two = await someMore(shop, one.places, 1); // of three that were read at once
  const three = await someMore(shop, two.places, 1);
  assert.deepEqual(
    [one, two, three].map(({ lines }) => lines),
    [["one"], ["two"], ["\u2603"]],
  );
  shop.write("four\n");
  shop.rotate();
  shop.write("five\n");
  const rest = await someMore(shop, three.places, 3);
  assert.deepEqual(rest.lines, ["three", "four", "five"]);
});
