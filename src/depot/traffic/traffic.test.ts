import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { array, assert as holds, integer, property, record } from "fast-check";
import type { ByteRange, DepotReader } from "../seam/depot.ts";
import { fakeClock, type FakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { origin, BLOB } from "../peers/peers.fixture.ts";
import { TokenBucket } from "./token-bucket.ts";
import { Traffic } from "./traffic.ts";

test("whatever is taken and whenever, the rate holds, and nothing waits longer than its share", () => {
  const taking = record({ bytes: integer({ min: 1, max: 300_000 }), pauseMs: integer({ min: 0, max: 500 }) });
  const perSec = 1_000_000;
  holds(
    property(array(taking, { minLength: 1, maxLength: 200 }), (takings) => {
      const bucket = new TokenBucket(perSec, 0);
      let [now, sum, busy] = [0, 0, 0];
      for (const { bytes, pauseMs } of takings) {
        now += pauseMs;
        const waitMs = bucket.take(bytes, now);
        now += waitMs;
        busy += waitMs;
        sum += bytes;
        assert.ok(sum <= (perSec * (now + 50)) / 1000 + 1, `${sum} bytes in ${now} ms`);
      }
      assert.ok(busy <= (sum / perSec) * 1000 + 1, "no wait but for the bytes themselves");
    }),
  );
});

test("a clock that is set back holds nothing up", () => {
  const bucket = new TokenBucket(1_000_000, 3_600_000);
  bucket.take(100_000, 3_600_000);
  let now = 0;
  const waits = Array.from({ length: 20 }, () => {
    const waitMs = bucket.take(100_000, now);
    now += waitMs;
    return waitMs;
  });
  assert.ok(Math.max(...waits) <= 200, `waited ${waits.join(", ")} ms`);
});

/** Advances a clock that stands still, as often as somebody sleeps on it, until the work is done. */
async function finish<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const ended = work.finally(() => over.abort());
  while (!over.signal.aborted) {
    await new Promise(setImmediate);
    clock.advance(1);
  }
  return await ended;
}

test("a limit on what comes in holds within 10 %, with several readers at once", async (t) => {
  const clock = fakeClock(0);
  const traffic = new Traffic({ downPerSec: 1_000_000 }, clock);
  const far = origin(1_000_000);
  const read = async (): Promise<void> => {
    for await (const _ of traffic.reading(far).get(BLOB, t.signal)) void _;
  };
  await finish(clock, Promise.all([read(), read(), read()]));
  assert.ok(clock.now() > 2700 && clock.now() < 3300, `3 MB at 1 MB/s took ${clock.now()} ms`);
});

test("a limit on what goes out holds within 10 %, and does not touch what comes in", async (t) => {
  const clock = fakeClock(0);
  const traffic = new Traffic({ upPerSec: 500_000 }, clock);
  const far = origin(1_000_000);
  const send = async (): Promise<void> => {
    for await (const _ of traffic.sending(far).get(BLOB, t.signal)) void _;
  };
  await finish(clock, send());
  assert.ok(clock.now() > 1800 && clock.now() < 2200, `1 MB at 500 kB/s took ${clock.now()} ms`);
  const before = clock.now();
  const taken = traffic.receiving(
    (async function* () {
      yield randomBytes(5_000_000);
    })(),
    t.signal,
  );
  await taken.next();
  assert.equal(clock.now(), before);
});

test("at a limit no more is asked for than is taken soon, and all of a range comes in order", async (t) => {
  const clock = fakeClock(0);
  const traffic = new Traffic({ downPerSec: 1_000_000 }, clock);
  const far = origin(3_000_000);
  let asked = 0;
  const counting: DepotReader = {
    ...far,
    get: (name, signal, range) => {
      assert.ok((range?.start ?? 0) <= 3_000_000, "nothing is asked for behind the blob's end");
      asked = range?.end ?? Infinity;
      return far.get(name, signal, range);
    },
  };
  const whole = await buffer(far.get(BLOB, t.signal));
  const read = async (range: ByteRange): Promise<Buffer> => {
    const pieces: Uint8Array[] = [];
    let at = range.start;
    for await (const piece of traffic.reading(counting).get(BLOB, t.signal, range)) {
      at += piece.length;
      pieces.push(Buffer.from(piece));
      assert.ok(asked - at <= 500_000, `${asked - at} bytes are on their way`);
    }
    return Buffer.concat(pieces);
  };
  for (const range of [
    { start: 1000, end: 2_700_000 },
    { start: 2_000_000, end: 9_000_000 },
  ]) {
    const got = await finish(clock, read(range));
    assert.ok(got.equals(whole.subarray(range.start, range.end)));
  }
  for await (const _ of new Traffic({}, clock)
    .reading(counting)
    .get(BLOB, t.signal, { start: 0, end: 2_000_000 }))
    void _;
  assert.equal(asked, 2_000_000, "without a limit, by one request");
});

test("no more transfers run than may, the first to come go first, and who leaves takes no turn", async (t) => {
  const traffic = new Traffic({ atOnce: 2 }, fakeClock(0));
  const one = await traffic.turn(t.signal);
  const two = await traffic.turn(t.signal);
  const order: string[] = [];
  const leaving = new AbortController();
  const left = traffic.turn(leaving.signal);
  const waiting = ["a", "b"].map(async (name) => {
    const turn = await traffic.turn(t.signal);
    order.push(name);
    return turn;
  });
  leaving.abort(new Error("left"));
  await assert.rejects(left, { message: "left" });
  await new Promise(setImmediate);
  assert.deepEqual(order, []);
  one[Symbol.dispose]();
  await waiting[0];
  assert.deepEqual(order, ["a"]);
  two[Symbol.dispose]();
  await waiting[1];
  assert.deepEqual(order, ["a", "b"]);
});

test("what comes in takes turns with what goes out, and an upload that ends gives its turn back", async (t) => {
  const traffic = new Traffic({ atOnce: 1 }, fakeClock(0));
  const sent = Promise.withResolvers<Uint8Array>();
  const cut = new Error("cut");
  const upload = traffic.receiving(
    (async function* () {
      yield await sent.promise;
      throw cut;
    })(),
    t.signal,
  );
  const first = upload.next();
  let isRead = false;
  const reading = (async () => {
    for await (const _ of traffic.sending(origin(1000)).get(BLOB, t.signal)) isRead = true;
  })();
  await new Promise(setImmediate);
  assert.equal(isRead, false);
  sent.resolve(Buffer.from("all of it"));
  await first;
  await assert.rejects(upload.next(), cut);
  await reading;
  assert.equal(isRead, true);
});

test("a turn that ends while nobody waits is there for who comes next", async (t) => {
  const traffic = new Traffic({ atOnce: 1 }, fakeClock(0));
  for (let n = 0; n < 3; n++) {
    using _turn = await traffic.turn(t.signal);
  }
  const left = AbortSignal.abort(new Error("left"));
  await assert.rejects(traffic.turn(left), { message: "left" });
  using _turn = await traffic.turn(t.signal);
});

test("who leaves in the moment that a turn is handed to them takes it from nobody", async (t) => {
  const traffic = new Traffic({ atOnce: 1 }, fakeClock(0));
  const first = await traffic.turn(t.signal);
  const leaving = new AbortController();
  const handed = traffic.turn(leaving.signal);
  let isNext = false;
  void traffic.turn(t.signal).then(() => (isNext = true));
  first[Symbol.dispose]();
  leaving.abort(new Error("left"));
  (await handed)[Symbol.dispose]();
  await new Promise(setImmediate);
  assert.equal(isNext, true);
});

test("what comes in from others is held to the limit, too", async (t) => {
  const clock = fakeClock(0);
  const traffic = new Traffic({ downPerSec: 1_000_000 }, clock);
  const coming = async function* (): AsyncGenerator<Uint8Array> {
    for (let n = 0; n < 20; n++) yield new Uint8Array(100_000);
  };
  const receive = async (): Promise<void> => {
    for await (const _ of traffic.receiving(coming(), t.signal)) void _;
  };
  await finish(clock, receive());
  assert.ok(clock.now() > 1800 && clock.now() < 2200, `2 MB at 1 MB/s took ${clock.now()} ms`);
});

test("who asks in the moment that a turn is handed on waits behind those who waited", async (t) => {
  const traffic = new Traffic({ atOnce: 1 }, fakeClock(0));
  const first = await traffic.turn(t.signal);
  const order: string[] = [];
  const taking = async (name: string): Promise<Disposable> => {
    const turn = await traffic.turn(t.signal);
    order.push(name);
    return turn;
  };
  const waited = taking("waited");
  first[Symbol.dispose]();
  const late = taking("late");
  const held = await waited;
  await new Promise(setImmediate);
  assert.deepEqual(order, ["waited"]);
  held[Symbol.dispose]();
  await late;
  assert.deepEqual(order, ["waited", "late"]);
});
