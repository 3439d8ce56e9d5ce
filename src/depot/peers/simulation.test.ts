import assert from "node:assert/strict";
import { test } from "node:test";
import { simulate } from "./simulation.fixture.ts";

const PIECES = 90;

test("the origin gives each piece once, to 1, 10, 100 or 1000 nodes", () => {
  for (const nodes of [1, 10, 100, 1000]) {
    const { copies, busiest } = simulate({ nodes, pieces: PIECES });
    assert.equal(copies, 1, `${nodes} nodes`);
    assert.ok(busiest < 2.5, `${nodes} nodes: the busiest gave ${busiest} copies`);
  }
});

test("ten times the nodes take a few rounds more, not ten times as many", () => {
  const few = simulate({ nodes: 10, pieces: PIECES });
  const many = simulate({ nodes: 1000, pieces: PIECES });
  assert.ok(many.rounds < 5 * few.rounds, `${few.rounds} and ${many.rounds} rounds`);
});

test("nodes that come one after the other cost the origin no more", () => {
  assert.equal(simulate({ nodes: 100, pieces: PIECES, begins: (node) => node * 7 }).copies, 1);
});

test("with every tenth node gone for good, everybody else still gets everything", () => {
  const { copies } = simulate({ nodes: 100, pieces: PIECES, dead: (node) => node % 10 === 3 });
  assert.ok(copies < 2, `${copies} copies`);
});

test("one slow node is passed over and slows nobody for long", () => {
  const without = simulate({ nodes: 10, pieces: 400 });
  const { rounds, copies } = simulate({
    nodes: 10,
    pieces: 400,
    slow: (node) => (node === 4 ? 50 : undefined),
  });
  assert.ok(copies < 1.5, `${copies} copies`);
  assert.ok(rounds < without.rounds + 60, `${without.rounds} and ${rounds} rounds`);
});

test("nodes that each know of half of the others get everything, for a few copies", () => {
  const { copies } = simulate({
    nodes: 100,
    pieces: PIECES,
    knows: (node, other) => (Math.imul(node + 1, 0x9e3779b1) ^ Math.imul(other + 7, 0x85ebca6b)) % 7 < 3,
  });
  assert.ok(copies < 4, `${copies} copies`);
});
