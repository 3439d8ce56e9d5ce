import assert from "node:assert/strict";
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import test from "node:test";
import { atEnd } from "../../lib/at-end.fixture.ts";
import { systemClock } from "../../lib/clock.ts";
import { runCheck, type CheckContext } from "./checks.ts";

test("a check by TCP hears a server out that speaks first, and resets nothing", async (t) => {
  const ends: string[] = [];
  const server = net.createServer((socket) => {
    socket.on("error", (err: NodeJS.ErrnoException) => ends.push(err.code ?? ""));
    socket.on("end", () => ends.push("end"));
    socket.resume().end(Buffer.alloc(4 * 1024 * 1024)); // more than any buffer on the way takes
    socket.on("close", () => server.emit("over"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.close());
  const { port } = server.address() as AddressInfo;
  const address = { name: "mail", protocol: "tcp", host: "127.0.0.1", port, path: null } as const;
  const over = once(server, "over");
  const context = { addresses: [address], clock: systemClock, signal: t.signal } as unknown as CheckContext;
  assert.equal(await runCheck({ type: "tcp", socket: "mail" }, context), null);
  await over;
  assert.deepEqual(ends, ["end"]);
});
