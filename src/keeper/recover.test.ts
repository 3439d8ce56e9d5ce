/** What a keeper makes of what one before it left. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { ensureKeeper, type KeeperClient } from "./client.ts";
import { keeperFor, killGroup, spec, tcp, type Fixture } from "./keeper.fixture.ts";
import type { InstanceRecord } from "./instance.ts";
import { Keeper } from "./keeper.ts";
import { bootId, groupMembers, statOf } from "./proc.ts";
import type { InstanceSpec } from "./protocol.ts";
import { survivorOf } from "./recover.ts";

/** @param between done while there is none */
async function nextKeeper(
  t: test.TestContext,
  f: Fixture,
  between?: () => Promise<void>,
): Promise<KeeperClient> {
  process.kill(f.keeper.hello.pid, "SIGKILL");
  await f.keeper.closed;
  await between?.();
  const logFile = path.join(f.home, "keeper.log");
  const next = await ensureKeeper({ run: f.run, logFile, signal: t.signal });
  atEnd(t, async () => next[Symbol.asyncDispose]());
  return next;
}

test("an instance whose socket somebody else has since is stopped all the same", async (t) => {
  const f = await keeperFor(t);
  const { port, key } = await f.keeper.call("listen", { socket: tcp() });
  const script = "exec 3<&-; touch let-go; exec sleep 60";
  const instance = spec(f.home, { argv: ["/bin/sh", "-c", script], sockets: [key] });
  const { pid } = await f.keeper.call("start", { instance });
  await eventually("it let go of it", () => fs.existsSync(path.join(f.home, "let-go")));
  const other = net.createServer();
  const next = await nextKeeper(t, f, async () => {
    await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
    atEnd(t, () => other.close());
  });
  assert.match(next.hello.lost.join(), /could not be taken back/);
  assert.deepEqual(next.hello.adopted, [instance.key]);
  assert.equal((await next.call("stop", { key: instance.key })).forced, false);
  assert.deepEqual(groupMembers(pid), []);
});

test("what was being stopped when its keeper ended is stopped by the next one, within its time", async (t) => {
  const f = await keeperFor(t);
  const stubborn = "trap 'touch told' TERM; touch up; while :; do sleep 0.05; done";
  const stop = { signal: "SIGTERM", windowMs: 0, withinMs: 300, now: "SIGKILL" };
  const instance = spec(f.home, { argv: ["/bin/sh", "-c", stubborn], stop });
  const { pid } = await f.keeper.call("start", { instance });
  atEnd(t, () => killGroup(pid));
  await eventually("it is up", () => fs.existsSync(path.join(f.home, "up")));
  const stopped = f.keeper.call("stop", { key: instance.key, withinMs: 60_000 });
  const unanswered = assert.rejects(stopped, { code: "KEEPER_UNREACHABLE" });
  await eventually("it is told", () => fs.existsSync(path.join(f.home, "told")));
  const next = await nextKeeper(t, f);
  await unanswered;
  const isStopped = async (): Promise<boolean> =>
    (await next.call("list", {})).instances[0]?.state === "stopped";
  await eventually("its end", isStopped, { withinMs: 10_000 });
  assert.deepEqual(groupMembers(pid), []);
});

const recordOf = (over: Partial<InstanceRecord>): InstanceRecord =>
  ({ state: "running", spec: { env: {} }, ...over }) as unknown as InstanceRecord;

test("only the very process that a keeper wrote down is taken for its instance, not one with its number", () => {
  const { pid } = process;
  const { startTime = "" } = statOf(pid) ?? {};
  assert.equal(survivorOf(recordOf({ pid, startTime })), pid);
  assert.equal(survivorOf(recordOf({ pid, startTime: `${startTime}0` })), undefined);
  assert.equal(survivorOf(recordOf({ pid: 2 ** 30, startTime })), undefined);
});

test("one that was started in a keeper's last moment is found by its mark, unless it was not to run", async (t) => {
  const key = `found ${process.pid}`;
  const child = spawn("sleep", ["60"], { detached: true, env: { SKEIN_KEY: key }, stdio: "ignore" });
  atEnd(t, () => child.kill("SIGKILL"));
  await once(child, "spawn");
  const record = { pid: 0, startTime: "", spec: { env: { SKEIN_KEY: key } } as unknown as InstanceSpec };
  assert.equal(survivorOf(recordOf(record)), child.pid);
  assert.equal(survivorOf(recordOf({ ...record, state: "failed" })), undefined);
  assert.equal(survivorOf(recordOf({ pid: 0, startTime: "" })), undefined, "it has no mark");
});

test("what was written down before a reboot, or is no state, is nobody's", async (t) => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "kp-"));
  atEnd(t, () => fs.rmSync(home, { recursive: true, force: true }));
  const state = { boot: bootId(), pid: 1, startTime: "", sockets: [], ports: [], instances: [] };
  const notesOf = (text: string): unknown => {
    fs.writeFileSync(path.join(home, "keeper.json"), text);
    return new Keeper(home, () => undefined).list().notes;
  };
  const notes = { a: "b" };
  assert.deepEqual(notesOf(JSON.stringify({ ...state, notes })), notes);
  assert.deepEqual(notesOf(JSON.stringify({ ...state, notes, boot: "another" })), {});
  assert.deepEqual(notesOf('{"boot":'), {});
});
