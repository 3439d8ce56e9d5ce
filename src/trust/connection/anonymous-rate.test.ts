import assert from "node:assert/strict";
import test from "node:test";
import { fakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { AnonymousRate } from "./anonymous-rate.ts";

/** How many requests of an address go through at this moment. */
function passing(rate: AnonymousRate, address: string): number {
  for (let passed = 0; ; passed++) {
    try {
      rate.take(address);
    } catch {
      return passed;
    }
  }
}

test("each address has a hundred requests at once, then as many as the rate gives back", () => {
  const clock = fakeClock();
  const rate = new AnonymousRate(clock, 20);
  assert.equal(passing(rate, "192.0.2.1"), 100);
  assert.equal(passing(rate, "192.0.2.2"), 100);
  clock.advance(500);
  assert.equal(passing(rate, "192.0.2.1"), 10);
  clock.advance(3_600_000);
  assert.equal(passing(rate, "192.0.2.1"), 100);
});

test("who has a network of addresses has one rate for all of them", () => {
  const rate = new AnonymousRate(fakeClock(), 20);
  assert.equal(passing(rate, "2001:db8::1"), 100);
  assert.equal(passing(rate, "2001:db8::ffff:1"), 0);
  assert.equal(passing(rate, "2001:db8:0:1::1"), 100);
});

test("a clock that is set back refuses nobody for longer", () => {
  const clock = fakeClock();
  const rate = new AnonymousRate(clock, 20);
  rate.take("192.0.2.1");
  clock.advance(-3_600_000);
  assert.equal(passing(rate, "192.0.2.1"), 99);
  clock.advance(500);
  assert.equal(passing(rate, "192.0.2.1"), 10);
});
