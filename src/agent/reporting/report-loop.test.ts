import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import type { Report } from "../../api/schemas.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { silentLog } from "../../lib/process/log.ts";
import { DOCUMENT_TYPES } from "../../trust/document/documents.ts";
import { ReportLoop } from "./report-loop.ts";
import type { Source } from "../source/source.ts";

interface Talk {
  readonly loop: ReportLoop;
  /** What was told so far. */
  readonly told: Report[];
  /** What the next report says. */
  readonly say: (more: Partial<Report>) => void;
  /** Lets time pass in small steps, each with room for what it wakes. */
  readonly pass: (ms: number) => Promise<void>;
  readonly setBack: (ms: number) => void;
  /** How far the hub's clock is ahead, and how long it takes until its answer is read. */
  readonly answer: (offMs: number, takesMs: number) => void;
  /** How far the hub's clock was found to be ahead, each time. */
  readonly skews: number[];
}

function talk(t: TestContext): Talk {
  const clock = fakeClock();
  const told: Report[] = [];
  const quiet = { receipts: [], instances: [], apps: [], progress: [], knows: [...DOCUMENT_TYPES] };
  let next: Partial<Report> = {};
  const skews: number[] = [];
  let [offMs, takesMs] = [0, 0];
  const source = {
    report: async (report: Report) => {
      told.push(report);
      const hubTime = clock.now() + offMs;
      clock.advance(takesMs);
      return { receipts: [], catchingUp: false, duplicate: false, hubTime: new Date(hubTime).toISOString() };
    },
  } as unknown as Source;
  const loop = new ReportLoop({
    what: "report",
    clock,
    log: silentLog,
    signal: t.signal,
    source: async () => source,
    report: async () => {
      const at = new Date(clock.now()).toISOString();
      return { boot: "0123456789", at, address: null, version: "1", ...quiet, ...next };
    },
    delivered: async (_, skewMs) => void skews.push(skewMs),
  });
  void loop.run();
  return {
    loop,
    told,
    say: (more) => {
      next = more;
    },
    setBack: (ms) => clock.advance(-ms),
    answer: (...how) => void ([offMs, takesMs] = how),
    skews,
    pass: async (ms) => {
      for (let left = ms; left > 0; left -= 20) {
        clock.advance(Math.min(20, left));
        await new Promise(setImmediate);
      }
    },
  };
}

test("news for which somebody waits are told at once, and those that come together as one", async (t) => {
  const { loop, told, say, pass } = talk(t);
  loop.tell("now");
  loop.tell("now");
  await pass(60);
  assert.equal(told.length, 1);
  say({ version: "2" });
  loop.tell("now");
  await pass(60);
  assert.deepEqual([told.length, told[1]?.version], [2, "2"]);
});

test("how far a step is waits for two seconds, or for something that cannot wait", async (t) => {
  const { loop, told, say, pass } = talk(t);
  loop.tell("now");
  await pass(60);
  say({ version: "2" });
  loop.tell("soon");
  await pass(1900);
  assert.equal(told.length, 1);
  await pass(200);
  assert.equal(told.length, 2);
  say({ version: "3" });
  loop.tell("soon");
  loop.tell("now");
  await pass(60);
  assert.equal(told.length, 3);
});

test("what was told is not told again before its time, a receipt excepted", async (t) => {
  const { loop, told, say, pass } = talk(t);
  loop.tell("now");
  await pass(60);
  loop.tell("now");
  loop.tell("soon");
  await pass(5000);
  assert.equal(told.length, 1);
  say({ receipts: [{ t: "receipt.1", p: "", s: [] }] });
  loop.tell("now");
  await pass(60);
  assert.equal(told.length, 2);
  say({});
  await pass(20_100);
  assert.equal(told.length, 3);
});

test("nothing is told more rarely than every 20 seconds, news or not", async (t) => {
  const { loop, told, pass } = talk(t);
  loop.tell("now");
  await pass(60);
  for (let n = 0; n < 9; n++) {
    loop.tell("soon");
    await pass(2500);
  }
  assert.equal(told.length, 2);
  const [first, second] = told.map(({ at }) => Date.parse(at));
  assert.ok((second ?? 0) - (first ?? 0) <= 20_100, String((second ?? 0) - (first ?? 0)));
});

test("where the clock was set back the next report is not an hour away", async (t) => {
  const { loop, told, pass, setBack } = talk(t);
  loop.tell("now");
  await pass(60);
  assert.equal(told.length, 1);
  setBack(3_600_000);
  loop.tell("now");
  await pass(60);
  assert.equal(told.length, 2);
  loop.tell("now");
  await pass(5000);
  assert.equal(told.length, 2);
});

test("an answer that was long under way, or lay unread, makes no clock wrong", async (t) => {
  const { loop, say, pass, answer, skews } = talk(t);
  for (const [offMs, takesMs] of [
    [0, 900_000],
    [700_000, 1000],
    [-700_000, 1000],
  ] as const) {
    answer(offMs, takesMs);
    say({ version: String(offMs) });
    loop.tell("now");
    await pass(60);
  }
  assert.deepEqual(skews, [0, 699_000, -700_000]);
});
