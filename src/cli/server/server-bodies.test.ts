import assert from "node:assert/strict";
import type { NetworkInterfaceInfo } from "node:os";
import test from "node:test";
import { addresses, addressHere } from "./server-bodies.ts";

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
  now = { lo, eth0: [one("192.0.2.9", false)] };
  assert.equal(here(), "192.0.2.9");
});
