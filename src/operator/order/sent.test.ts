import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import type { HubClient } from "../../api/hub-client.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { SkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { orderBody, rosterOf, sealOrder, settleBody } from "../../trust/cluster.fixture.ts";
import { digestOfEnvelope, seal, type Envelope } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import type { OperatorEvent } from "../tell/events.ts";
import { operatorDir } from "../identity/home.ts";
import type { Operator } from "../identity/operator.ts";
import { deliverEarlier, isUnsent, remindOfSettle, send, type Sent } from "./sent.ts";

/** Three orders of an app, and a hub that answers what it is told to and notes what it was sent. */
async function world(t: TestContext) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "skein-sent-"));
  atEnd(t, () => fs.rmSync(home, { recursive: true, force: true }));
  const signer = generateSigner();
  const orders = await Promise.all(
    [1, 2, 3].map(async (seq): Promise<Sent> => {
      const body = orderBody(seq);
      const order = await sealOrder(body, signer);
      const settle = await seal("settle.1", settleBody(body, order), [signer]);
      return {
        app: body.app,
        env: body.env,
        order,
        roster: rosterOf(),
        settle,
        goesBack: false,
        part: false,
      };
    }),
  );
  /** What the next requests are answered with; then all are taken. */
  const answers: ErrorCode[] = [];
  const posted: Envelope[] = [];
  const settled: Envelope[] = [];
  const answer = async (): Promise<void> => {
    const code = await Promise.resolve(answers.shift());
    if (code !== undefined) throw new SkeinError(code, code);
  };
  const client = {
    postOrder: async (order: Envelope) => {
      posted.push(order);
      await answer();
    },
    postSettle: async (settle: Envelope) => {
      settled.push(settle);
      await answer();
    },
  } as unknown as HubClient;
  const paths = pathsFrom({ SKEIN_HOME: home });
  const clock = { ...systemClock, sleep: async () => undefined };
  const operator = { paths, client, clock } as unknown as Operator;
  const told: OperatorEvent[] = [];
  const tell = (event: OperatorEvent): void => void told.push(event);
  const [one = assert.fail(), two = assert.fail(), three = assert.fail()] = orders;
  const { app, env } = one;
  const earlier = async (by = operator): Promise<void> =>
    await deliverEarlier(by, app, { env, tell, signal: t.signal });
  const isLeft = async (): Promise<boolean> => await isUnsent(operator, app, env);
  return { operator, one, two, three, answers, posted, settled, told, earlier, isLeft, app, env };
}

const TRIES = 8;
const cutOff = (): ErrorCode[] => Array.from({ length: TRIES }, () => "HUB_UNREACHABLE");

test("what was signed and did not arrive is sent again before anything else, as it is and the oldest first", async (t) => {
  const { operator, one, two, answers, posted, told, earlier, isLeft } = await world(t);
  for (const sent of [two, one]) {
    answers.push(...cutOff());
    await assert.rejects(send(operator, sent, t.signal), { code: "HUB_UNREACHABLE" });
  }
  assert.equal(await isLeft(), true);
  assert.deepEqual(new Set(posted), new Set([one.order, two.order]));
  posted.length = 0;
  await earlier();
  assert.deepEqual(posted, [two.order, one.order]);
  assert.equal(told.length, 2);
  assert.equal(await isLeft(), false);
  await earlier();
  assert.equal(posted.length, 2, "once");
});

test("what a hub refuses as it is just then is kept, also when it is sent again", async (t) => {
  const { operator, one, answers, posted, earlier, isLeft } = await world(t);
  answers.push(...cutOff());
  await assert.rejects(send(operator, one, t.signal), { code: "HUB_UNREACHABLE" });
  for (const code of ["HUB_CATCHING_UP", "TOO_MANY", "HUB_UNREACHABLE", "INTERRUPTED"] as const) {
    answers.length = 0;
    answers.push(...Array.from({ length: TRIES }, () => code));
    await assert.rejects(earlier(), { code });
    assert.equal(await isLeft(), true, code);
  }
  answers.length = 0;
  answers.push("HUB_CATCHING_UP", "TOO_MANY", "HUB_UNREACHABLE");
  posted.length = 0;
  await earlier();
  assert.deepEqual([posted.length, await isLeft()], [4, false]);
});

test("what a hub has read and will not take is not sent again", async (t) => {
  const { operator, one, two, answers, told, earlier, isLeft } = await world(t);
  answers.push("HEAD_MOVED");
  await assert.rejects(send(operator, one, t.signal), { code: "HEAD_MOVED" });
  assert.equal(await isLeft(), false);
  answers.push(...cutOff());
  await assert.rejects(send(operator, two, t.signal), { code: "HUB_UNREACHABLE" });
  answers.push("HEAD_MOVED");
  await earlier();
  assert.deepEqual([told, await isLeft()], [[], false]);
});

test("nothing is sent before what the order needs has arrived; where that fails nothing is left", async (t) => {
  const { operator, one, posted, isLeft } = await world(t);
  const needed = Promise.withResolvers<void>();
  const sending = send(operator, one, t.signal, needed.promise);
  await eventually("it is on the disk", isLeft);
  assert.equal(posted.length, 0);
  needed.reject(new SkeinError("IO", "full"));
  await assert.rejects(sending, { code: "IO" });
  assert.deepEqual([posted.length, await isLeft()], [0, false]);
});

test("another app's orders, and another environment's, are not sent along; nor is a broken file", async (t) => {
  const { operator, one, two, three, answers, posted, earlier, isLeft, app, env } = await world(t);
  for (const sent of [{ ...one, app: `${app}-2` }, { ...two, env: `${env}2` }, three]) {
    answers.push(...cutOff());
    await assert.rejects(send(operator, sent, t.signal), { code: "HUB_UNREACHABLE" });
  }
  fs.writeFileSync(path.join(operatorDir(operator.paths), "sent", `${app}.${env}.cut.json`), '{"app":');
  posted.length = 0;
  await earlier();
  assert.deepEqual([posted, await isLeft()], [[three.order], false]);
});

test("what its own command was stopped at is kept; what another one delivered meanwhile has arrived", async (t) => {
  const { operator, one, two, settled, isLeft, app, env } = await world(t);
  const posting = (postOrder: () => void): Operator => {
    const client = { postOrder: async () => await Promise.try(postOrder) } as unknown as HubClient;
    return { ...operator, client };
  };
  const leaving = new AbortController();
  const stopped = posting(() => {
    leaving.abort(new Error("stopped"));
    leaving.signal.throwIfAborted();
  });
  await assert.rejects(send(stopped, one, leaving.signal), { message: "stopped" });
  assert.equal(await isLeft(), true);
  const found = posting(() => fs.rmSync(path.join(operatorDir(operator.paths), "sent"), { recursive: true }));
  const digest = await send(found, two, t.signal);
  await remindOfSettle(operator, { app, env, digest }, t.signal);
  assert.deepEqual(settled, [two.settle]);
});

test("a dry run sends nothing, and tells of what would be sent first", async (t) => {
  const { operator, one, answers, posted, told, earlier, isLeft } = await world(t);
  const dry = { ...operator, dryRun: {} } as unknown as Operator;
  await earlier(dry);
  assert.deepEqual(told, []);
  answers.push(...cutOff());
  await assert.rejects(send(operator, one, t.signal), { code: "HUB_UNREACHABLE" });
  posted.length = 0;
  await earlier(dry);
  assert.deepEqual([told.map(({ type }) => type), posted, await isLeft()], [["warning"], [], true]);
});

test("a hub is reminded of the settle of the order that arrived last, and of no other", async (t) => {
  const { operator, one, two, answers, settled, app, env } = await world(t);
  const remind = async (sent: Sent, by = operator): Promise<void> =>
    await remindOfSettle(by, { app, env, digest: digestOfEnvelope(sent.order) }, t.signal);
  await remind(one);
  await send(operator, one, t.signal);
  await remind(two);
  await remind(one, { ...operator, dryRun: {} } as unknown as Operator);
  assert.deepEqual(settled, []);
  await remind(one);
  assert.deepEqual(settled, [one.settle]);
  answers.push("HUB_UNREACHABLE", "SETTLE_UNPROVEN");
  await assert.rejects(remind(one), { code: "HUB_UNREACHABLE" });
  await remind(one);
  await send(operator, { ...two, settle: null }, t.signal);
  await remind(two);
  assert.equal(settled.length, 3);
});
