import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import test from "node:test";
import { gitRemote, hubsNamed, parseSkeinUrl } from "./git-remote.ts";

test("an address is skein://HUB/REPO", () => {
  assert.deepEqual(parseSkeinUrl("skein://hub1:7400/shop"), { hub: "hub1:7400", repo: "shop" });
  assert.deepEqual(parseSkeinUrl("skein:///shop.git"), { hub: "", repo: "shop" });
  for (const bad of ["https://hub/shop", "skein://hub", "skein://hub/a b", ""]) {
    assert.throws(() => parseSkeinUrl(bad), { code: "USAGE" }, bad);
  }
  const named = { code: "USAGE", hint: / skein:\/\/hub1:7400\/shop-2$/ };
  for (const name of ["My_App", "my.app"]) {
    assert.throws(() => parseSkeinUrl(`skein://hub1:7400/${name}`), named, name);
  }
});

test("a hub is named by its address or host; one that nobody lists must hold a known key", () => {
  const known = [
    { spki: "a", address: "hub1:7400" },
    { spki: "b", address: "10.0.0.2:7400" },
  ];
  assert.deepEqual(hubsNamed("", known), known);
  assert.deepEqual(hubsNamed("hub1", known), [known[0]]);
  assert.deepEqual(hubsNamed("10.0.0.2:7400", known), [known[1]]);
  assert.deepEqual(hubsNamed("tunnel:9000", known), [
    { spki: "a", address: "tunnel:9000" },
    { spki: "b", address: "tunnel:9000" },
  ]);
  assert.throws(() => hubsNamed("nowhere", known), { code: "USAGE" });
});

test("it offers connect, then carries every byte both ways, whatever pieces the lines come in", async () => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const services: string[] = [];
  const running = gitRemote({
    input,
    output,
    connect: async (service) => {
      services.push(service);
      return new PassThrough();
    },
  });
  for (const piece of ["capab", "ilities\nconnect git-rec", "eive-pack\nfirst ", "bytes"]) input.write(piece);
  input.end();
  await running;
  output.end();
  assert.deepEqual(services, ["git-receive-pack"]);
  assert.equal(await text(output), "connect\n\n\nfirst bytes");
});

test("what it does not offer is refused, and an early end is no fault", async () => {
  const connect = async (): Promise<never> => assert.fail("no connection was asked for");
  const input = new PassThrough();
  const running = gitRemote({ input, output: new PassThrough(), connect });
  input.write("fetch abc\n");
  await assert.rejects(running, { code: "GIT_FAILED" });
  const ended = new PassThrough();
  ended.end();
  await gitRemote({ input: ended, output: new PassThrough(), connect });
});
