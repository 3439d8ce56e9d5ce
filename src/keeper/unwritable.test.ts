/** A disk that takes nothing: full, read-only or gone. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { eventually } from "../lib/testing/eventually.fixture.ts";
import { keeperFor, spec, tcp, type Fixture } from "./keeper.fixture.ts";

/** From now on until the returned function is called nothing of the keeper's state can be written. */
function unwritable(f: Fixture): () => void {
  const aside = path.join(f.run, "keeper.json.tmp");
  fs.mkdirSync(aside);
  return () => fs.rmdirSync(aside);
}

test("an instance that crashes while nothing can be written is started again, and known to the next keeper", async (t) => {
  const f = await keeperFor(t);
  const instance = spec(f.home, { gate: true });
  const { pid } = await f.keeper.call("start", { instance });
  const writable = unwritable(f);
  const log = path.join(f.home, "log");
  fs.rmSync(log, { recursive: true });
  fs.writeFileSync(log, "no folder");
  const gate = (): number => fs.statSync(path.join(f.run, "gates", encodeURIComponent(instance.key))).ino;
  const before = gate();
  process.kill(pid, "SIGKILL");
  const again = await eventually("the restart", async () => {
    const [one] = (await f.keeper.call("list", {})).instances;
    return one?.state === "running" && one.pid > 0 && one.pid !== pid ? one.pid : undefined;
  });
  assert.equal(gate(), before, "an open gate need not be made again");
  writable();
  const saved = (): boolean =>
    fs.readFileSync(path.join(f.run, "keeper.json"), "utf8").includes(`"pid":${again},`);
  await eventually("it is written down", saved);
});

test("what is asked for while nothing can be written is refused and undone, and works afterwards", async (t) => {
  const f = await keeperFor(t);
  const held = await f.keeper.call("listen", { socket: tcp({ key: "held" }) });
  const instance = spec(f.home, { gate: true, attached: false });
  const { pid } = await f.keeper.call("start", { instance });
  const other = spec(f.home, { key: "app/1/other.1" });
  const writable = unwritable(f);
  await assert.rejects(f.keeper.call("listen", { socket: tcp() }), { code: "IO" });
  await assert.rejects(f.keeper.call("listen", { socket: tcp({ key: "held" }) }), { code: "IO" });
  await assert.rejects(f.keeper.call("start", { instance: other }), { code: "IO" });
  await assert.rejects(f.keeper.call("attach", { key: instance.key }), { code: "IO" });
  await assert.rejects(f.keeper.call("stop", { key: instance.key }), { code: "IO" });
  const { instances, sockets } = await f.keeper.call("list", {});
  assert.deepEqual(
    instances.map((one) => [one.spec.key, one.state, one.attached, one.pid]),
    [
      [instance.key, "running", false, pid],
      [other.key, "stopped", true, 0],
    ],
  );
  assert.deepEqual(sockets, [held]);
  // Nothing runs under this name: its end must not be the keeper's own group's.
  await f.keeper.call("stop", { key: other.key });
  writable();
  await f.keeper.call("start", { instance: other });
  assert.equal((await f.keeper.call("attach", { key: instance.key })).attached, true);
  await f.keeper.call("listen", { socket: tcp() });
});

test("an instance whose log cannot be opened is not started, and can be stopped", async (t) => {
  const f = await keeperFor(t);
  fs.writeFileSync(path.join(f.home, "log"), "no folder");
  const instance = spec(f.home, {});
  await assert.rejects(f.keeper.call("start", { instance }), { code: "IO" });
  await f.keeper.call("stop", { key: instance.key });
  assert.deepEqual(
    (await f.keeper.call("list", {})).instances.map(({ state, pid }) => [state, pid]),
    [["failed", 0]],
  );
  fs.rmSync(path.join(f.home, "log"));
  assert.ok((await f.keeper.call("start", { instance })).pid > 0);
});
