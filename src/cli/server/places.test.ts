import assert from "node:assert/strict";
import type { NetworkInterfaceInfo } from "node:os";
import test from "node:test";
import type { Charter } from "../../trust/document/documents.ts";
import { addresses, addressHere, listedPlace } from "./places.ts";

test("a node tells others an address that its sockets are bound to", () => {
  const of = (flags: { readonly address?: string; readonly bind?: string }): string => {
    const { address, bind } = addresses(flags, "192.0.2.2");
    return `${address()} ${bind}`;
  };
  assert.equal(of({}), "192.0.2.2 0.0.0.0");
  assert.equal(of({ bind: "10.0.0.5" }), "10.0.0.5 10.0.0.5");
  assert.equal(of({ bind: "0.0.0.0" }), "192.0.2.2 0.0.0.0");
  assert.equal(of({ bind: "::" }), "192.0.2.2 ::");
  assert.equal(of({ address: "127.0.0.2" }), "127.0.0.2 127.0.0.2");
  assert.equal(of({ address: "203.0.113.7", bind: "10.0.0.5" }), "203.0.113.7 10.0.0.5");
});

test("a machine is named by a name or an address, without a port", () => {
  for (const host of ["10.0.0.1", "fd00:5::1", "localhost", "web1.example.com", "xn--a.de", "3com.net"])
    assert.equal(addresses({ address: host }).address(), host);
  assert.equal(addresses({ address: "[::1]" }).address(), "::1");
  const odd = [
    "10.0.0.1:80",
    "http://x",
    "1.2.3",
    "999.1.1.1",
    "fe80::1%eth0",
    "a b",
    "",
    `${"a.".repeat(127)}a`,
  ];
  for (const host of odd) {
    const message = `${host} is neither an address nor a name`;
    assert.throws(
      () => addresses({ address: host }),
      { code: "USAGE", message: `--address ${message}` },
      host,
    );
    assert.throws(() => addresses({ bind: host }), { code: "USAGE", message: `--bind ${message}` }, host);
  }
});

const v6 = (address: string, scopeid: number, internal = false): NetworkInterfaceInfo => {
  const rest = { netmask: "ffff:ffff:ffff:ffff::", mac: "02:00:00:00:00:01", cidr: `${address}/64` };
  return { address, internal, family: "IPv6", scopeid, ...rest };
};

test("a machine that has IPv6 alone is reached by it, at the node and at the hub", () => {
  const eth0 = [v6("fe80::1", 2), v6("fd00:5::1", 0)];
  const { address, bind } = addresses({}, undefined, () => ({ lo: [v6("::1", 0, true)], eth0 }));
  assert.deepEqual([address(), bind], ["fd00:5::1", "::"]);
  assert.equal(addresses({ address: "fd00:5::1" }).bind, "::");
  assert.equal(addresses({ address: "::1" }).bind, "::1");
  const charter = (...hub: string[]) => ({ hubs: { key: hub } }) as unknown as Charter;
  const host = (at: string): string => listedPlace(charter(at), "key", "127.0.0.1").host;
  assert.deepEqual(["[fd00:5::1]:7400", "[::1]:7400", "192.0.2.2:7400"].map(host), ["::", "::1", "0.0.0.0"]);
});

test("the machine's own address follows it, and stays while it has none", () => {
  const one = (address: string, internal: boolean): NetworkInterfaceInfo => {
    const rest = { netmask: "255.255.255.0", mac: "02:00:00:00:00:01", cidr: `${address}/24` };
    return { address, internal, family: "IPv4", ...rest };
  };
  const lo = [one("127.0.0.1", true)];
  let now: NodeJS.Dict<NetworkInterfaceInfo[]> = { lo };
  const here = addressHere(() => now);
  assert.equal(here(), "127.0.0.1");
  now = { lo, eth0: [one("192.0.2.2", false)] };
  assert.equal(here(), "192.0.2.2");
  now = { lo };
  assert.equal(here(), "192.0.2.2");
  now = { lo, eth0: [v6("fd00:5::1", 0), one("192.0.2.9", false)] };
  assert.equal(here(), "192.0.2.9");
});
