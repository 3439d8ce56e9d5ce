import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { KeeperClient } from "./client.ts";

test("of a keeper that does not answer no connection is kept", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "kp-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, "keeper.sock");
  const keeper = net.createServer().listen(file);
  atEnd(t, () => keeper.close());
  await once(keeper, "listening");
  const accepted = once(keeper, "connection");
  await assert.rejects(KeeperClient.connect(file, 50), { code: "KEEPER_UNREACHABLE", data: { op: "hello" } });
  const [socket] = (await accepted) as [net.Socket];
  atEnd(t, () => socket.destroy());
  await once(socket.resume(), "end", { signal: AbortSignal.timeout(5000) });
});
