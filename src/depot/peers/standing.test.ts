import assert from "node:assert/strict";
import { test } from "node:test";
import { Standing } from "./standing.ts";

function standing() {
  let now = 0;
  const made = new Standing(
    () => now,
    () => 0.5,
  );
  return { made, advance: (ms: number) => (now += ms) };
}

test("who was gone is asked again after a pause that grows with each time", () => {
  const { made, advance } = standing();
  made.gave("b", 1000, 1);
  made.failed("a", "gone");
  assert.deepEqual([...made.out()], ["a"]);
  advance(4999);
  assert.deepEqual([...made.out()], ["a"]);
  advance(1);
  assert.deepEqual([...made.out()], []);
  made.failed("a", "gone");
  advance(19_999);
  assert.deepEqual([...made.out()], ["a"]);
  advance(1);
  assert.deepEqual([...made.out()], []);
});

test("a liar stays out far longer than who was busy or late", () => {
  const { made, advance } = standing();
  made.failed("liar", "lied");
  made.failed("busy", "busy");
  made.failed("late", "late");
  advance(300);
  assert.deepEqual([...made.out()], ["liar", "late"]);
  assert.deepEqual([...made.liars()], ["liar"]);
  advance(3700);
  assert.deepEqual([...made.out()], ["liar"]);
  advance(590_000);
  assert.deepEqual([...made.out()], ["liar"]);
});

test("who gives the right bytes after a lie is no liar any more, and another fault makes him none", () => {
  const { made, advance } = standing();
  made.failed("former", "lied");
  advance(1_000_000);
  made.gave("former", 262_144, 100);
  made.failed("former", "gone");
  assert.deepEqual([[...made.out()], [...made.liars()]], [["former"], []]);
});

test("a peer that gives at less than a fifth of the median's rate is slow, one at half of it is not", () => {
  const { made } = standing();
  const gave = (name: string, ms: number): void => {
    for (let piece = 0; piece < 3; piece++) made.gave(name, 262_144, ms);
  };
  for (const name of ["a", "b", "c"]) gave(name, 600);
  gave("half", 1200);
  assert.deepEqual([...made.out()], []);
  gave("slow", 5000);
  assert.deepEqual([...made.out()], ["slow"]);
});

test("nobody is slow for his first two pieces, or for what he had to wait for himself", () => {
  const { made } = standing();
  for (const name of ["a", "b", "c"]) made.gave(name, 262_144, 600);
  for (const ms of [5000, 5000]) made.gave("new", 262_144, ms);
  for (const ms of [5000, 5000, 5000, 5000]) made.gave("below", 262_144, ms, ms - 600);
  assert.deepEqual([...made.out()], []);
  made.gave("new", 262_144, 5000);
  assert.deepEqual([...made.out()], ["new"]);
});

test("questions that were open when a fault was found are that same fault", () => {
  const { made, advance } = standing();
  made.gave("b", 1000, 1);
  advance(10_000);
  for (const ms of [2000, 2000, 1900, 0]) made.failed("a", "gone", ms);
  advance(5000);
  assert.deepEqual([...made.out()], []);
  // Asked since: another one.
  made.failed("a", "gone", 4999);
  advance(19_999);
  assert.deepEqual([...made.out()], ["a"]);
});

test("nobody is slow while too few are known, or for what took half a second", () => {
  const { made } = standing();
  made.gave("b", 262_144, 5000);
  for (const name of ["c", "d", "e"]) made.gave(name, 262_144, 1);
  made.gave("f", 262_144, 499);
  assert.deepEqual([...made.out()], []);
});

test("what peers give in the median is found whatever the order they came in, and of one alone there is none", () => {
  const { made } = standing();
  made.gave("a", 262_144, 1000);
  assert.equal(made.patienceMs(262_144), 20_000);
  for (const [n, ms] of [1, 9000, 10_000, 2].entries()) made.gave(`b${n}`, 262_144, ms);
  assert.equal(Math.round(made.patienceMs(262_144)), 6000);
});

test("one quick piece takes a slow peer's faults back: the next pause is as long as the first", () => {
  const { made, advance } = standing();
  made.gave("b", 1000, 1);
  const pauseMs = (): number => {
    made.failed("a", "gone");
    let ms = 0;
    for (; made.out().has("a"); ms += 1000) advance(1000);
    return ms;
  };
  const first = pauseMs();
  assert.ok(pauseMs() > first);
  made.gave("a", 1000, 1);
  assert.equal(pauseMs(), first);
});

test("a wall is seen only where no peer ever gave anything", () => {
  const { made } = standing();
  made.gave("a", 1000, 1);
  for (const name of ["b", "c", "d", "e"]) made.failed(name, "gone");
  assert.equal(made.isWalledIn, false);
});

test("a piece is waited for six times as long as the median took, within bounds", () => {
  const { made } = standing();
  assert.equal(made.patienceMs(262_144), 20_000);
  for (const name of ["a", "b", "c"]) made.gave(name, 262_144, 1000);
  assert.equal(Math.round(made.patienceMs(262_144)), 6000);
  assert.equal(made.patienceMs(1000), 3000);
  assert.equal(made.patienceMs(10_000_000), 45_000);
});

test("who stands further back waits longer: those before it may have to find out first", () => {
  const { made } = standing();
  made.originGave(262_144, 50);
  assert.deepEqual(
    [0, 1, 2, 3, 20].map((depth) => made.patienceMs(262_144, depth)),
    [3000, 3000, 6000, 9000, 45_000],
  );
});

test("while the origin is slow, peers are given the time that it takes them", () => {
  const { made } = standing();
  for (const name of ["a", "b", "c"]) made.gave(name, 262_144, 10);
  assert.equal(made.patienceMs(262_144), 3000);
  made.originGave(262_144, 5000);
  assert.equal(Math.round(made.patienceMs(262_144)), 30_000);
});

test("peers that wait for a slow one make nobody more patient than the origin does", () => {
  const { made } = standing();
  made.originGave(262_144, 50);
  for (const name of ["a", "b", "c"]) made.gave(name, 262_144, 9000);
  assert.equal(made.patienceMs(262_144), 3000);
});

test("where no peer was ever reached nobody is asked for a while", () => {
  const { made, advance } = standing();
  for (const name of ["a", "b", "c"]) made.failed(name, "gone");
  assert.equal(made.isWalledIn, false);
  made.failed("d", "gone");
  assert.equal(made.isWalledIn, true);
  advance(120_000);
  assert.equal(made.isWalledIn, false);
});
