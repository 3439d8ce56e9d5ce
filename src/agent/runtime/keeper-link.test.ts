import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { lineReader, PROTOCOL_VERSION, type Request } from "../../keeper/protocol.ts";
import { SkeinError, toWire } from "../../lib/errors/errors.ts";
import { silentLog } from "../../lib/process/log.ts";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { KeeperLink } from "./keeper-link.ts";

test("of a keeper that tells no events no connection is kept, and it is asked again", async (t) => {
  const run = fs.mkdtempSync(path.join(os.tmpdir(), "kl-"));
  atEnd(t, () => fs.rmSync(run, { recursive: true, force: true }));
  const asked: string[] = [];
  const error = toWire(new SkeinError("TIMEOUT", "it has no time"));
  const keeper = net.createServer((socket) => {
    atEnd(t, () => socket.destroy());
    const read = lineReader((line) => {
      const { id, op } = line as Request;
      asked.push(op);
      const ok = { version: PROTOCOL_VERSION, pid: process.pid, lost: [] };
      const isRefused = op === "events" && asked.length === 2;
      socket.write(`${JSON.stringify(isRefused ? { id, error } : { id, ok })}\n`);
    });
    socket.on("data", read).on("end", () => asked.push("end"));
  });
  keeper.listen(path.join(run, "keeper.sock"));
  atEnd(t, () => keeper.close());
  await once(keeper, "listening");
  await using link = new KeeperLink({ run, logs: run, log: silentLog });
  const told: string[] = [];
  link.listen((event) => told.push(event.type));
  await assert.rejects(link.client(), { code: "TIMEOUT" });
  await link.client();
  assert.deepEqual(asked, ["hello", "events", "end", "hello", "events"]);
  assert.deepEqual(told, ["keeper"]);
});
