import assert from "node:assert/strict";
import test from "node:test";
import { addresses } from "./server-bodies.ts";

test("a node tells others an address that its sockets are bound to", () => {
  const of = (flags: { readonly address?: string; readonly bind?: string }): string => {
    const { address, bind } = addresses(flags, "192.0.2.2");
    return `${address} ${bind}`;
  };
  assert.equal(of({}), "192.0.2.2 0.0.0.0");
  assert.equal(of({ bind: "10.0.0.5" }), "10.0.0.5 10.0.0.5");
  assert.equal(of({ bind: "0.0.0.0" }), "192.0.2.2 0.0.0.0");
  assert.equal(of({ bind: "::" }), "192.0.2.2 ::");
  assert.equal(of({ address: "127.0.0.2" }), "127.0.0.2 127.0.0.2");
  assert.equal(of({ address: "203.0.113.7", bind: "10.0.0.5" }), "203.0.113.7 10.0.0.5");
});
