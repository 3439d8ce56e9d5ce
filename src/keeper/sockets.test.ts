import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { tcp } from "./keeper.fixture.ts";
import { HeldSockets } from "./sockets.ts";

function heldFor(t: test.TestContext): HeldSockets {
  const held = new HeldSockets();
  atEnd(t, () => {
    for (const { key } of held.views()) held.close(key);
  });
  return held;
}

test("a held socket is asked for again by its address, and by no other", (t) => {
  const held = heldFor(t);
  const view = held.listen(tcp());
  for (const same of [tcp(), tcp({ port: view.port })]) assert.equal(held.listen(same), view);
  const others = [
    { port: view.port + 1 },
    { host: "127.0.0.2" },
    { protocol: "udp" },
    { path: "/x" },
  ] as const;
  for (const other of others)
    assert.throws(() => held.listen(tcp(other)), { code: "CONFLICT" }, JSON.stringify(other));
  assert.equal(held.get(view.key), view);
  held.close(view.key);
  assert.throws(() => held.get(view.key), { code: "NOT_FOUND" });
});

test("a unix socket takes the place of a leftover file, is open to all who reach it, and leaves nothing", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ks-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const held = heldFor(t);
  const file = path.join(dir, "web.sock");
  fs.writeFileSync(file, "left over");
  const unix = { protocol: "unix", path: file } as const;
  const view = held.listen(tcp(unix));
  assert.equal(fs.statSync(file).mode & 0o777, 0o666);
  const client = net.connect(file);
  await once(client, "connect");
  client.destroy();
  assert.equal(held.listen(tcp({ ...unix, host: "other", port: 7 })), view);
  held.close(view.key);
  assert.deepEqual(fs.readdirSync(dir), []);
  assert.throws(() => held.listen(tcp({ protocol: "unix", path: path.join(dir, "none", "web.sock") })), {
    code: "IO",
    message: /^cannot bind .*none\/web\.sock/,
  });
  assert.deepEqual(held.views(), []);
});

test("a UDP socket takes datagrams on the port that is told, and no connections", (t) => {
  const held = heldFor(t);
  const { port, inode } = held.listen(tcp({ protocol: "udp" }));
  assert.ok(port > 0);
  const rows = fs.readFileSync("/proc/self/net/udp", "utf8").trim().split("\n");
  const own = rows.map((row) => row.trim().split(/\s+/)).find((columns) => columns[9] === String(inode));
  assert.equal(own?.[1]?.split(":")[1], port.toString(16).toUpperCase().padStart(4, "0"));
});

test("a socket of an earlier keeper is held by the descriptor copied from who has it", (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ks-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const held = heldFor(t);
  const file = path.join(dir, "web.sock");
  fs.writeFileSync(file, "");
  const fd = fs.openSync(file, "r");
  const before = { ...tcp({ protocol: "unix", path: file }), fd: 99, inode: 12 };
  held.adopt(before, fd);
  assert.deepEqual(held.views(), [{ ...before, fd }]);
  held.close(before.key);
  assert.equal(fs.existsSync(file), false);
  assert.throws(() => fs.fstatSync(fd), { code: "EBADF" });
});
