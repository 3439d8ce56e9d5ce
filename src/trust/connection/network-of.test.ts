import assert from "node:assert/strict";
import test from "node:test";
import { networkOf } from "./network-of.ts";

const CASES: readonly [address: string, network: string][] = [
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:0:7:1:2:3:4", "2001:db8:0:7::/64"],
  ["2001:0DB8:0000:0007::", "2001:db8:0:7::/64"],
  ["2001:db8::7:1:2:3:4", "2001:db8:0:7::/64"],
  ["2001:db8::4", "2001:db8:0:0::/64"],
  ["2001:db8::1:2:3:192.0.2.1", "2001:db8:0:1::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["", ""],
];

for (const [address, network] of CASES) {
  test(`${address === "" ? "nothing" : address} is counted as ${network}`, () => {
    assert.equal(networkOf(address), network);
  });
}
