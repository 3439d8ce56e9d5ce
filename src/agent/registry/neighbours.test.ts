import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { PortEntry } from "../../api/schemas.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { silentLog } from "../../lib/process/log.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { knownBefore, Neighbours } from "./neighbours.ts";
import type { PortTable, Source } from "../source/source.ts";

const entry = (instance: string, app = "shop"): PortEntry => ({
  app,
  env: "default",
  release: "ab".repeat(16) as never,
  commit: null,
  process: "say",
  socket: "say",
  protocol: "tcp",
  host: "10.0.0.2",
  port: 20_001,
  pid: 7,
  state: "serving",
  since: "2026-01-01T00:00:00.000Z",
  current: true,
  instance,
  node: generateSigner().kid,
  nodeName: "n2",
  stale: false,
});

const table = (ports: readonly PortEntry[], revision = 0): PortTable => ({ ports, revision });

/** One life of an agent, as far as neighbours go. */
function life(t: TestContext, runDir: string, ports: Source["ports"]) {
  const stop = new AbortController();
  atEnd(t, () => stop.abort());
  const known: PortEntry[] = [];
  /** What the tables had, one after the other. */
  const seen: string[] = [];
  const neighbours = new Neighbours({
    runDir,
    clock: systemClock,
    log: silentLog,
    signal: stop.signal,
    source: async () => await Promise.resolve({ ports } as Source),
    registry: {
      setRemote: (entries) => {
        known.splice(0, known.length, ...entries);
        seen.push(names().join(" "));
      },
      seen: (ports) => ports.filter(({ app }) => app === "shop"),
    },
  });
  const names = (): string[] => known.map(({ instance }) => instance);
  return { neighbours, names, seen };
}

async function* never(signal: AbortSignal): AsyncGenerator<PortTable, void> {
  yield await new Promise<PortTable>((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason)),
  );
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(path.join(tmpdir(), "skein-neighbours-"));
  atEnd(t, () => rmSync(dir, { recursive: true }));
  return dir;
}

test("the table of now is waited for while the source is away", async (t) => {
  let asked = 0;
  const { neighbours, names } = life(t, folder(t), async function* () {
    asked += 1;
    if (asked < 3) throw new SkeinError("HUB_UNREACHABLE", "away");
    yield await Promise.resolve(table([entry("say.2")]));
    throw new Error("one table is enough");
  });
  await neighbours.refresh(t.signal);
  assert.deepEqual(names(), ["say.2"]);
});

test("who is told to turn round waits for no table", async (t) => {
  const { neighbours } = life(t, folder(t), async function* (signal) {
    signal.throwIfAborted();
    yield await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
  const turn = new AbortController();
  const asked = neighbours.refresh(turn.signal);
  turn.abort(new Error("superseded"));
  await assert.rejects(asked, /superseded/);
});

test("an older table that comes later is passed over, but for that of a hub which was set back", async (t) => {
  const more = Promise.withResolvers<void>();
  const setBack = Promise.withResolvers<void>();
  const answers: (() => AsyncGenerator<PortTable, void>)[] = [
    async function* () {
      yield table([entry("say.1")], 7);
      await more.promise;
      yield table([entry("say.2")], 8);
      yield table([entry("say.4")], 10);
      await setBack.promise;
      throw new SkeinError("HUB_UNREACHABLE", "it starts anew");
    },
    async function* () {
      yield await Promise.resolve(table([entry("say.3")], 9));
    },
    async function* () {
      yield await Promise.resolve(table([entry("say.5")], 3));
    },
  ];
  const { neighbours, seen } = life(t, folder(t), (signal) => answers.shift()?.() ?? never(signal));
  void neighbours.run();
  await eventually("the first", () => seen.length === 1);
  await neighbours.refresh(t.signal);
  more.resolve();
  await eventually("the newest", () => seen.at(-1) === "say.4");
  setBack.resolve();
  await eventually("the older hub's", () => seen.at(-1) === "say.5");
  assert.deepEqual(seen, ["say.1", "say.3", "say.4", "say.5"]);
});

test("an agent that starts where no hub answers knows what its callers knew before", async (t) => {
  const dir = folder(t);
  const first = life(t, dir, async function* () {
    yield await Promise.resolve(table([entry("say.1"), entry("far.1", "bank")]));
  });
  await first.neighbours.refresh(t.signal);
  assert.deepEqual(first.names(), ["say.1", "far.1"]);
  const known = await knownBefore(dir, silentLog);
  assert.deepEqual(
    known.map(({ instance }) => instance),
    ["say.1"],
    "what nobody here is told of is not kept",
  );
});

test("whoever is killed while a table is kept leaves the one before it whole", async (t) => {
  const dir = folder(t);
  const tables = [[entry("say.1"), entry("say.2")], [entry("say.3")]];
  const { neighbours } = life(t, dir, async function* () {
    yield await Promise.resolve(table(tables.shift() ?? assert.fail()));
  });
  await neighbours.refresh(t.signal);
  await using before = await open(path.join(dir, "services.json"));
  const text = readFileSync(path.join(dir, "services.json"), "utf8");
  await neighbours.refresh(t.signal);
  assert.equal(await before.readFile("utf8"), text, "it was replaced, and not written over");
  assert.deepEqual(readdirSync(dir), ["services.json"]);
  const known = await knownBefore(dir, silentLog);
  assert.deepEqual(
    known.map(({ instance }) => instance),
    ["say.3"],
  );
});

test("what an agent that was killed left half written goes when the next one starts", async (t) => {
  const dir = folder(t);
  const left = path.join(dir, "services.json.0123456789ab.tmp");
  writeFileSync(left, '[{"app":');
  utimesSync(left, new Date(0), new Date(0));
  assert.deepEqual(await knownBefore(dir, silentLog), []);
  assert.deepEqual(readdirSync(dir), []);
});

test("a kept table that was torn or changed says nothing", async (t) => {
  for (const text of ["", '[{"app":', '[{"app":1}]']) {
    const dir = folder(t);
    writeFileSync(path.join(dir, "services.json"), text);
    assert.deepEqual(await knownBefore(dir, silentLog), []);
  }
});
