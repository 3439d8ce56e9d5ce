/** What a keeper and those who speak with it make of time in which one of them, or all, were not let run. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { keeperFor, killGroup, spec } from "./keeper.fixture.ts";
import { statOf } from "./proc.ts";

/** `who` is a process, or a group where it is negative. */
async function freeze(t: test.TestContext, who: number): Promise<() => void> {
  const thaw = (): void => void process.kill(who, "SIGCONT");
  process.kill(who, "SIGSTOP");
  atEnd(t, () => (statOf(Math.abs(who)) === undefined ? undefined : thaw()));
  await eventually("its stop", () => statOf(Math.abs(who))?.state === "T");
  return thaw;
}

test("an answer that came while the caller was stopped is in time", async (t) => {
  const { keeper, run } = await keeperFor(t);
  const state = path.join(run, "keeper.json");
  const isNoted = (): boolean => fs.existsSync(state) && fs.readFileSync(state, "utf8").includes("asked");
  const answer = keeper.call("note", { key: "asked", value: "yes" }, 600);
  const stopped = new Int32Array(new SharedArrayBuffer(4)); // this thread is the caller's
  do Atomics.wait(stopped, 0, 0, 1200);
  while (!isNoted());
  await answer;
});

test("a keeper that is stopped does not answer, and then does", async (t) => {
  const { keeper } = await keeperFor(t);
  const thaw = await freeze(t, keeper.hello.pid);
  await assert.rejects(keeper.call("list", {}, 200), { code: "KEEPER_UNREACHABLE" });
  thaw();
  assert.deepEqual((await keeper.call("list", {})).instances, []);
});

test("an instance that was stopped together with its keeper has its time to drain all the same", async (t) => {
  const f = await keeperFor(t);
  const word = path.join(f.home, "drain-on");
  // it drains until the word is there, and that comes while it is stopped: it cannot be done before
  const drain = `trap 'echo draining; until [ -e ${word} ]; do sleep 0.05; done; echo drained; exit 0' TERM
    echo up; while :; do sleep 0.05; done`;
  const stop = { signal: "SIGTERM", windowMs: 0, withinMs: 3000, now: "SIGKILL" };
  const { pid } = await f.keeper.call("start", {
    instance: spec(f.home, { argv: ["/bin/sh", "-c", drain], stop }),
  });
  atEnd(t, () => killGroup(pid));
  const log = (): string => fs.readFileSync(path.join(f.home, "log", "web.log"), "utf8");
  await eventually("its start", () => log().includes("up"));
  const stopped = f.keeper.call("stop", { key: "app/1/web.1" });
  await eventually("its drain", () => log().includes("draining"));
  const goOn = [await freeze(t, f.keeper.hello.pid), await freeze(t, -pid)];
  fs.writeFileSync(word, "");
  await sleep(3500);
  for (const thaw of goOn) {
    thaw();
    await sleep(200);
  }
  assert.equal((await stopped).forced, false);
  assert.match(log(), /drained/);
});
