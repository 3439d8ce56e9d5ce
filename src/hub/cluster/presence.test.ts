import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { SkeinError } from "../../lib/errors/errors.ts";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { openSqliteStore } from "../../store/sqlite.ts";
import { joinNode, makeCluster, reportOf, startTestHub, tempHome, type TestHub } from "../hub.fixture.ts";
import { keys } from "../records/keys.ts";

const presentOf = (hub: TestHub): boolean[] => hub.hub.presence.views().map(({ present }) => present);

test("a node that falls silent is absent after 30 s, and present with its next word", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock, cluster: await makeCluster() });
  const node = await joinNode(t, hub, "web1");
  const report = async (): Promise<unknown> =>
    await node.client.report(reportOf({ at: new Date(clock.now()).toISOString() }));
  await report();
  assert.deepEqual(presentOf(hub), [true]);
  clock.advance(29_000);
  assert.deepEqual(presentOf(hub), [true]);
  clock.advance(1500);
  assert.deepEqual(presentOf(hub), [false]);
  await report();
  assert.deepEqual(presentOf(hub), [true]);
});

for (const ms of [-3_600_000, 3_600_000]) {
  test(`a clock that is set by ${ms} ms, or a hub that was stopped, makes nobody present for longer, or absent`, async (t) => {
    const [clock, lived] = [fakeClock(Date.now()), fakeClock(0)];
    const hub = await startTestHub(t, { clock, lived });
    const node = await joinNode(t, hub, "web1");
    await node.client.report(reportOf({ at: new Date(clock.now()).toISOString() }));
    clock.advance(ms);
    assert.deepEqual(presentOf(hub), [true]);
    lived.advance(31_000);
    assert.deepEqual(presentOf(hub), [false]);
  });

  test(`a clock that is set by ${ms} ms makes nobody a double for longer, or shorter`, async (t) => {
    const [clock, lived] = [fakeClock(Date.now()), fakeClock(0)];
    const hub = await startTestHub(t, { clock, lived });
    const { client, kid } = await joinNode(t, hub, "web1");
    const say = async (boot: string): Promise<unknown> =>
      await client.report(reportOf({ at: new Date(clock.now()).toISOString(), boot }));
    for (const boot of ["boot-first", "boot-second", "boot-first"]) await say(boot);
    clock.advance(ms);
    assert.ok(hub.hub.presence.duplicate(kid));
    lived.advance(61_000);
    await say("boot-first");
    assert.ok(!hub.hub.presence.duplicate(kid));
    for (const boot of ["boot-second", "boot-first"]) await say(boot);
    assert.ok(hub.hub.presence.duplicate(kid), "both are there still");
  });
}

test("a report that lay unread while the hub was stopped makes no clock wrong", async (t) => {
  const [clock, lived] = [fakeClock(Date.now()), fakeClock(0)];
  const hub = await startTestHub(t, { clock, lived });
  const node = await joinNode(t, hub, "web1");
  const said = async (lateMs: number): Promise<unknown> => {
    await node.client.report(reportOf({ at: new Date(clock.now() - lateMs).toISOString() }));
    const [view] = hub.hub.presence.views();
    return [view?.present, view?.skewMs];
  };
  assert.deepEqual(await said(0), [true, 0]);
  clock.advance(3_600_000);
  assert.deepEqual(await said(3_500_000), [true, 0], "sent in between");
  assert.deepEqual(await said(3_600_000 + 700_000), [false, 700_000], "wrong before it lay there");
  assert.deepEqual(await said(-700_000), [false, -700_000]);
  clock.advance(10_000);
  lived.advance(10_000);
  assert.deepEqual(await said(3_500_000), [false, 3_500_000], "by now everything was read");
});

test("a store that refuses a write does not end the watch over who is present", async (t) => {
  const clock = fakeClock(Date.now());
  const home = await tempHome(t);
  const store = await openSqliteStore(path.join(home, "hub.db"));
  const hub = await startTestHub(t, { clock, home, store });
  const node = await joinNode(t, hub, "web1");
  await node.client.report(reportOf({ at: new Date(clock.now()).toISOString() }));
  const isPresent = (): boolean | undefined => hub.hub.core.mirror.get(keys.view(node.kid))?.present;
  const refuse = t.mock.method(store, "txn", async () => {
    throw new SkeinError("DISK_FULL", "no space left");
  });
  clock.advance(31_000);
  while (refuse.mock.callCount() === 0) await new Promise(setImmediate);
  refuse.mock.restore();
  while (isPresent() === true) {
    clock.advance(1000);
    await new Promise(setImmediate);
  }
});

test("a poll whose connection broke makes a node absent after 5 s", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  const node = await joinNode(t, hub, "web1");
  await node.client.report(reportOf({ at: new Date(clock.now()).toISOString() }));
  const { etag } = (await node.client.wanted(undefined, 0)) ?? {};
  const poll = node.client.wanted(etag, 60_000).catch(() => undefined);
  while (!hub.hub.wanted.isWaiting(node.kid)) await new Promise(setImmediate);
  clock.advance(40_000);
  assert.deepEqual(presentOf(hub), [true], "it holds a poll of 60 s");
  node.client.close();
  await poll;
  while (hub.hub.wanted.isWaiting(node.kid)) await new Promise(setImmediate);
  clock.advance(5100);
  assert.deepEqual(presentOf(hub), [false]);
});

test("a node whose connections closed between two polls is absent after 5 s, whatever of it is read later", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  const node = await joinNode(t, hub, "web1");
  const { presence } = hub.hub;
  await node.client.report(reportOf({ at: new Date(clock.now()).toISOString() }));
  assert.ok(presence.isConnected(node.kid));
  node.client.close();
  while (presence.isConnected(node.kid)) await new Promise(setImmediate);
  clock.advance(1500);
  presence.heard(node.kid);
  assert.deepEqual([presentOf(hub), presence.gone(node.kid)], [[true], false]);
  clock.advance(5100);
  assert.deepEqual([presentOf(hub), presence.gone(node.kid)], [[false], true]);
});

test("the break of an earlier poll says nothing while a later one waits", async (t) => {
  const clock = fakeClock(Date.now());
  const hub = await startTestHub(t, { clock });
  const { kid } = await joinNode(t, hub, "web1");
  const { presence } = hub.hub;
  presence.polled(kid, 60_000, "before");
  presence.polled(kid, 60_000, "restarted");
  presence.pollEnded(kid, true);
  clock.advance(40_000);
  assert.deepEqual([presentOf(hub), presence.gone(kid)], [[true], false]);
  presence.pollEnded(kid, true);
  clock.advance(1500);
  assert.deepEqual([presentOf(hub), presence.gone(kid)], [[true], true]);
});

test("two agents with one key are told apart while both only wait", async (t) => {
  const hub = await startTestHub(t);
  const { client, kid } = await joinNode(t, hub, "web1");
  const { etag } = (await client.wanted(undefined, 0)) ?? {};
  const ask = async (boot: string) => await client.wanted(etag, 60_000, t.signal, boot);
  const first = ask("boot-first");
  while (!hub.hub.wanted.isWaiting(kid)) await new Promise(setImmediate);
  const second = ask("boot-second");
  assert.equal(await first, undefined, "its poll is answered although nothing is new");
  assert.equal(hub.hub.presence.duplicate(kid), false, "it may have been restarted");
  assert.equal((await ask("boot-first"))?.duplicate, true);
  assert.equal(hub.hub.presence.duplicate(kid), true);
  assert.equal(await second, undefined);
  const both = await Promise.all([ask("boot-second"), ask("boot-first")]);
  assert.deepEqual(
    both.map((wanted) => wanted?.duplicate),
    [true, true],
  );
  const known = both[0]?.etag;
  const quiet = client.wanted(known, 300, t.signal, "boot-second");
  while (!hub.hub.wanted.isWaiting(kid)) await new Promise(setImmediate);
  assert.equal(await client.wanted(known, 0, t.signal, "boot-first"), undefined);
  assert.ok(hub.hub.wanted.isWaiting(kid), "two that are told apart wait in peace");
  assert.equal(await quiet, undefined);
});

test("after a restart of the hub, who was there has the usual time to call again", async (t) => {
  const first = await startTestHub(t);
  const node = await joinNode(t, first, "web1");
  await node.client.report(reportOf());
  await first.close();
  const clock = fakeClock(Date.now());
  const second = await startTestHub(t, { cluster: first.cluster, home: first.home, clock });
  assert.deepEqual(presentOf(second), [true]);
  clock.advance(31_000);
  assert.deepEqual(presentOf(second), [false]);
});
