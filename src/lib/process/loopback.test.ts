import assert from "node:assert/strict";
import type { NetworkInterfaceInfo } from "node:os";
import test from "node:test";
import { loopbackHost } from "./loopback.ts";

const shared = { netmask: "", mac: "00:00:00:00:00:00", cidr: null };
const v4 = (address: string, internal: boolean): NetworkInterfaceInfo => {
  return { address, internal, family: "IPv4", ...shared };
};
const v6: NetworkInterfaceInfo = { address: "::1", internal: true, family: "IPv6", scopeid: 0, ...shared };

test("a machine whose loopback has no IPv4 is asked at ::1", () => {
  const here = (lo: NetworkInterfaceInfo[]): string =>
    loopbackHost(() => ({ lo, eth0: [v4("192.0.2.1", false)] }));
  assert.equal(here([v4("127.0.0.1", true), v6]), "127.0.0.1");
  assert.equal(here([v6]), "::1");
  assert.equal(here([]), "127.0.0.1", "what it lacks is said of that");
});
