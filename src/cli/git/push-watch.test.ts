import assert from "node:assert/strict";
import test from "node:test";
import { PushWatch } from "./push-watch.ts";

const ZERO = "0".repeat(40);
const ONE = "1".repeat(40);
const TWO = "2".repeat(40);
const pkt = (text: string): string => (text.length + 4).toString(16).padStart(4, "0") + text;

const REQUESTS = `${pkt(`${ZERO} ${ONE} refs/heads/main\0report-status side-band-64k agent=git/2`)}${pkt(
  `${ONE} ${TWO} refs/heads/next\n`,
)}${pkt(`${ONE} ${ZERO} refs/heads/old`)}${pkt(`${ZERO} ${TWO} refs/tags/v1`)}0000PACK${pkt(
  `${ZERO} ${TWO} refs/heads/in-the-pack`,
)}`;
const report = (...lines: string[]): string => `${pkt(`\u0001${lines.map(pkt).join("")}0000`)}0000`;

function watched(requests: string, answer: string, size: number): PushWatch {
  const watch = new PushWatch();
  for (let at = 0; at < requests.length; at += size) watch.sent(Buffer.from(requests.slice(at, at + size)));
  for (let at = 0; at < answer.length; at += size) watch.received(Buffer.from(answer.slice(at, at + size)));
  return watch;
}

for (const size of [1, 7, 100_000]) {
  test(`the branches that the hub took are known, in pieces of ${size}`, () => {
    const answer = report(
      "unpack ok\n",
      "ok refs/heads/main\n",
      "ng refs/heads/next non-fast-forward\n",
      "ok refs/heads/old\n",
    );
    assert.deepEqual(watched(REQUESTS, answer, size).pushed, [{ branch: "main", commit: ONE }]);
  });
}

test("what git asks for is told at once, but for what it wants removed", () => {
  const told: string[] = [];
  const watch = new PushWatch(({ branch, commit }) => told.push(`${branch} ${commit}`));
  watch.sent(Buffer.from(REQUESTS));
  assert.deepEqual(told, [`main ${ONE}`, `next ${TWO}`]);
});

test("nothing is pushed before the hub says so, nor where git does not speak its protocol", () => {
  assert.deepEqual(watched(REQUESTS, "", 10).pushed, []);
  assert.deepEqual(
    watched("what is this? ok refs/heads/main\n", report("ok refs/heads/main\n"), 10).pushed,
    [],
  );
});
