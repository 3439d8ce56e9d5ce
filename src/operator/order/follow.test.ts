import assert from "node:assert/strict";
import { test } from "node:test";
import type { RolloutNode, RolloutView } from "../../api/schemas.ts";
import type { Digest, KeyId, ReleaseId } from "../../lib/text/ids.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { endingOf, failureOf, follow, readReason } from "./follow.ts";
import type { Operator } from "../identity/operator.ts";

const node = (name: string, more: Partial<RolloutNode>): RolloutNode => ({
  node: name as KeyId,
  name,
  batch: 0,
  present: true,
  gate: "go",
  state: "done",
  verdict: "ok",
  code: null,
  message: null,
  bytesDone: 0,
  bytesTotal: null,
  note: null,
  cut: 0,
  ...more,
});

const view = (
  phase: RolloutView["phase"],
  nodes: RolloutNode[],
  code: string | null = null,
): RolloutView => ({
  order: "0".repeat(64) as Digest,
  app: "shop",
  env: "default",
  release: "3".repeat(32) as ReleaseId,
  phase,
  nodes,
  verdict: phase === "running" ? null : { ok: phase === "ok", code, message: code },
  revision: 1,
});

const failed = node("n2", {
  verdict: "failed",
  code: "APP_EXITED",
  message:
    "shop web.1 ended before it was ready (exit status 1): Error: no | at x (a.js:1) | Node.js v26 (the old version serves)",
});

test("a rollout has ended when it has a verdict", () => {
  assert.equal(endingOf(view("running", [])), undefined);
  for (const phase of ["ok", "failed", "undone", "stuck"] as const)
    assert.equal(endingOf(view(phase, [])), phase);
  assert.equal(endingOf({ ...view("failed", []), verdict: null }), undefined);
  assert.equal(endingOf({ ...view("ok", []), verdict: null }), "ok");
});

/** A hub that is asked for each look. */
const older = {
  rolloutViews: async function* (): AsyncGenerator<RolloutView> {
    yield* [];
    throw await Promise.resolve(new SkeinError("NOT_FOUND", "there is no GET /v1/rollouts/0/views"));
  },
};

test("a hub that stops, and one that begins anew, are waited for, and nothing is told twice", async (t) => {
  const stops = new SkeinError("INTERRUPTED", "the hub stops");
  const answers: (RolloutView | SkeinError)[][] = [
    [view("pending", []), { ...view("running", []), revision: 2 }, stops],
    [new SkeinError("HUB_UNREACHABLE", "gone")],
    [{ ...view("running", []), revision: 2 }],
    [
      { ...view("running", []), revision: 2 },
      { ...view("ok", []), revision: 3 },
    ],
  ];
  const rolloutViews = async function* (): AsyncGenerator<RolloutView> {
    for (const one of answers.shift() ?? assert.fail()) {
      if (one instanceof SkeinError) throw await Promise.resolve(one);
      yield one;
    }
  };
  const clock = { ...systemClock, sleep: async () => undefined };
  const operator = { clock, client: { rolloutViews } as unknown as Operator["client"] };
  const left: number[] = [];
  const missed = async (): Promise<void> => void (await Promise.resolve(left.push(answers.length)));
  const told = await Array.fromAsync(follow(operator, view("ok", []).order, t.signal, missed));
  assert.deepEqual([told.map(({ phase }) => phase), answers], [["pending", "running", "ok"], []]);
  assert.deepEqual(left, [1], "once, when it answers again, for it may be one that was restored");
});

test("the end is told also where a hub that was started anew numbers it as what was told last", async (t) => {
  const views = [view("running", []), view("running", []), view("ok", [])];
  const rollout = async (): Promise<RolloutView> => await Promise.resolve(views.shift() ?? assert.fail());
  const clock = { ...systemClock, sleep: async () => undefined };
  const operator = { clock, client: { ...older, rollout } as unknown as Operator["client"] };
  const told = await Array.fromAsync(follow(operator, view("ok", []).order, t.signal));
  assert.deepEqual(
    told.map(({ phase }) => phase),
    ["running", "ok"],
  );
});

test("a hub that restarts again while a restored one is asked and told what it forgot is waited for", async (t) => {
  const away = new SkeinError("HUB_UNREACHABLE", "cut");
  const answers = [new SkeinError("NOT_FOUND", "no such order"), away, view("ok", [])];
  const rollout = async (): Promise<RolloutView> => {
    const answer = answers.shift() ?? assert.fail();
    return await (answer instanceof SkeinError ? Promise.reject(answer) : Promise.resolve(answer));
  };
  const client = { ...older, rollout, hub: async () => await Promise.resolve({ catchingUp: true }) };
  const clock = { ...systemClock, sleep: async () => undefined };
  const operator = { clock, client: client as unknown as Operator["client"] };
  const tries = [away, away, undefined];
  const missed = async (): Promise<void> => {
    const err = tries.shift();
    if (err !== undefined) throw err;
    await Promise.resolve();
  };
  const told = await Array.fromAsync(follow(operator, view("ok", []).order, t.signal, missed));
  assert.deepEqual([told.map(({ phase }) => phase), tries], [["ok"], []]);
});

test("what a hub that is well says is told at once: it is no restart", async (t) => {
  const { order } = view("ok", []);
  const no = async (): Promise<never> => await Promise.reject(new SkeinError("UNKNOWN_CLIENT", "no"));
  const rolloutViews = async function* (): AsyncGenerator<RolloutView> {
    yield* [];
    await no();
  };
  const clock = { ...systemClock, sleep: async () => assert.fail("waited for") };
  const followed = async (client: object): Promise<unknown> =>
    await Array.fromAsync(
      follow({ clock, client: client as unknown as Operator["client"] }, order, t.signal),
    );
  await assert.rejects(followed({ rolloutViews }), { code: "UNKNOWN_CLIENT" });
  await assert.rejects(followed({ ...older, rollout: no }), { code: "UNKNOWN_CLIENT" });
  const gone = async (): Promise<never> => await Promise.reject(new SkeinError("NOT_FOUND", "no such order"));
  const hub = async () => await Promise.resolve({ catchingUp: false });
  await assert.rejects(followed({ ...older, rollout: gone, hub }), { code: "NOT_FOUND" });
});

test("a hub that is asked for each look is asked for what is new, and not without a pause", async () => {
  const asked: unknown[] = [];
  const slept: number[] = [];
  let now = 1000;
  const clock = { now: () => (now += 20), sleep: async (ms: number) => void slept.push(ms) };
  const views = [view("running", []), { ...view("running", []), revision: 2 }, view("running", [])];
  const leaving = new AbortController();
  const rollout = async (_order: unknown, _signal: unknown, news: unknown): Promise<RolloutView> => {
    asked.push(news);
    const answer = views.shift() ?? assert.fail("asked by who has left");
    if (views.length === 0) leaving.abort();
    return await Promise.resolve(answer);
  };
  const operator = { clock, client: { ...older, rollout } as unknown as Operator["client"] };
  await Array.fromAsync(follow(operator, view("ok", []).order, leaving.signal));
  const waitMs = 20_000;
  assert.deepEqual(asked, [
    { after: -1, waitMs: 0 },
    { after: 1, waitMs },
    { after: 2, waitMs },
  ]);
  assert.deepEqual(slept, [100, 100, 100]);
});

test("a deployment that was undone exits 3 and tells where, why, the app's last lines and what serves", () => {
  const error = failureOf(view("undone", [node("n1", {}), failed]), "shop@11111111");
  assert.equal(error?.exit, 3);
  assert.equal(
    error?.message,
    "shop failed on n2: shop web.1 ended before it was ready (exit status 1) (the old version serves)",
  );
  assert.deepEqual(error?.data["lines"], ["Error: no", "at x (a.js:1)", "Node.js v26"]);
  assert.equal(error?.data["state"], "It was undone: shop@11111111 serves.");
  assert.equal(error?.data["cause"], "APP_EXITED");
  assert.equal(error?.hint, "See what it said: skein logs shop --on n2");
  const late = failureOf(view("undone", [{ ...failed, code: "HEALTH_TIMEOUT" }]), null);
  assert.match(late?.hint ?? "", /raise health\.ready\.within.* skein logs shop/);
  const told = failureOf(view("undone", [{ ...failed, hint: "Use handover: port or gap." }]), null);
  assert.equal(told?.hint, "Use handover: port or gap. See what it said: skein logs shop --on n2");
  const typed = failureOf(view("undone", [{ ...failed, hint: "Run chmod o+x /srv" }]), null);
  assert.equal(typed?.hint, "Run chmod o+x /srv; see what it said: skein logs shop --on n2");
  const elsewhere = failureOf({ ...view("undone", [failed]), env: "prod" }, null);
  assert.match(elsewhere?.hint ?? "", /skein logs shop --env prod --on n2$/);
});

test("a first deployment that failed leaves nothing, and still exits 3", () => {
  const error = failureOf(view("undone", [failed]), null);
  assert.equal(error?.exit, 3);
  assert.match(String(error?.data["state"]), /Nothing of it runs/);
  const late = failureOf(view("failed", [failed], "UNDO_TOO_LATE"), null);
  assert.equal(late?.code, "UNDO_TOO_LATE");
  assert.match(String(late?.data["state"]), /Nothing was taken back/);
});

test("an undo that could not reach every node needs a human", () => {
  const away = node("n1", { verdict: null, state: "running" });
  const error = failureOf(view("stuck", [away, failed]), "shop@11111111");
  assert.deepEqual([error?.code, error?.exit], ["UNDO_INCOMPLETE", 5]);
  assert.equal(
    error?.data["state"],
    "Not every node could be taken back; one that is away is taken back when it comes.",
  );
  assert.equal(failureOf(view("stuck", [away], "NODES_ABSENT"), null)?.code, "NODES_ABSENT");
});

test("what goes on, and what ended well, is no failure", () => {
  assert.equal(failureOf(view("ok", []), null), undefined);
  assert.equal(failureOf(view("running", [failed]), null), undefined);
});

test("a failure is told of the node that refused, or that the rollout names, else of the app", () => {
  const refused = node("n2", { verdict: "refused", code: "ENV_CONFLICT", message: "it holds another" });
  assert.equal(
    failureOf(view("undone", [node("n1", {}), refused]), null)?.message,
    "shop failed on n2: it holds another",
  );
  const said = (message: string | null) =>
    failureOf({ ...view("undone", [node("n1", {})]), verdict: { ok: false, code: null, message } }, null);
  assert.equal(said("n1: it crashed")?.message, "shop failed on n1: it crashed");
  assert.match(said("n1: it crashed")?.hint ?? "", /^See what it said: skein logs shop --on n1$/);
  assert.equal(said("n3: it crashed")?.message, "shop failed: n3: it crashed");
  assert.equal(said(null)?.message, "shop failed: it failed");
  assert.equal(said(null)?.hint, "See what it said: skein logs shop");
});

test("a code that this version does not know, or that says something else, is told as what it comes to", () => {
  for (const code of [null, "FROM_A_LATER_VERSION"]) {
    assert.equal(failureOf(view("failed", [], code), null)?.code, "UNDO_INCOMPLETE");
    assert.equal(failureOf(view("stuck", [], code), null)?.code, "UNDO_INCOMPLETE");
    const hint = failureOf(view("undone", [{ ...failed, code }]), null)?.hint;
    assert.equal(hint, "See what it said: skein logs shop --on n2");
  }
  assert.equal(failureOf(view("stuck", [], "HEALTH_TIMEOUT"), null)?.exit, 5);
  const absent = failureOf(view("failed", [], "NODES_ABSENT"), "shop@11111111");
  assert.equal(absent?.data["state"], "Nothing was started; it goes on by itself when they come.");
});

test("a message without an app's lines is its own reason", () => {
  for (const text of ["port 80: taken", "a | b", ""])
    assert.deepEqual(readReason(text), { reason: text, lines: [] });
});
