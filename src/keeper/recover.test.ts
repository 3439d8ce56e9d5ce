/** What a keeper makes of what one before it left. */
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { ensureKeeper, type KeeperClient } from "./client.ts";
import { keeperFor, killGroup, spec, tcp, type Fixture } from "./keeper.fixture.ts";
import { groupMembers } from "./proc.ts";

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
