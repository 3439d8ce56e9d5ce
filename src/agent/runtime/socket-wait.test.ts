import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import net from "node:net";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { socketInode } from "../../keeper/proc.ts";
import { waitingOn, type Waiting } from "./socket-wait.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

/** Starts a program with a bound socket as fd 3, and waits until it waits on it in this way. */
async function untilWaiting(t: TestContext, argv: readonly string[], wanted: Waiting): Promise<void> {
  const bound = new net.BoundSocket({ host: "127.0.0.1", port: 0 });
  atEnd(t, () => bound.close());
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { detached: true, stdio: ["ignore", "inherit", "inherit", bound.fd()] });
  const { pid } = child;
  assert.ok(pid !== undefined);
  atEnd(t, () => process.kill(-pid, "SIGKILL"));
  const inode = socketInode(`/proc/self/fd/${bound.fd()}`) ?? 0;
  await eventually(wanted, () => {
    assert.equal(waitingOn(pid, inode), wanted);
    return true;
  });
}

const python = (code: string): string[] => [
  "/usr/bin/python3",
  "-c",
  `import socket, select, time\ns = socket.socket(fileno=3)\ns.setblocking(True)\ns.listen(5)\n${code}`,
];

const ways: [name: string, argv: string[], wanted: Waiting][] = [
  ["epoll in Node", [process.execPath, "-e", `require("net").createServer().listen({ fd: 3 })`], "waits"],
  ["a blocking accept", python("s.accept()"), "waits"],
  ["poll", python("p = select.poll()\np.register(s, select.POLLIN)\np.poll()"), "waits"],
  ["select", python("select.select([s], [], [])"), "waits"],
  ["epoll", python("e = select.epoll()\ne.register(3, select.EPOLLIN)\ne.poll()"), "waits"],
  [
    "an accept in another thread",
    python("import threading\nthreading.Thread(target=s.accept).start()\ntime.sleep(60)"),
    "waits",
  ],
  [
    "an accept in a forked worker",
    python("import os\nif os.fork() == 0: s.accept()\ns.close()\ntime.sleep(60)"),
    "waits",
  ],
  ["holding it only", python("time.sleep(60)"), "holds"],
  [
    "poll of something else",
    python("o, kept = socket.socketpair()\np = select.poll()\np.register(o, select.POLLIN)\np.poll()"),
    "holds",
  ],
  ["having closed it", python("s.close()\ntime.sleep(60)"), "no"],
];

for (const [name, argv, wanted] of ways) {
  test(`${name}: ${wanted}`, async (t) => {
    await untilWaiting(t, argv, wanted);
  });
}
