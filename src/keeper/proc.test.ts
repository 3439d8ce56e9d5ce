import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { groupMembers, runs, statOf } from "./proc.ts";

/** Its first thread ends, another goes on until standard input does. */
const HEADLESS = `
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).pthread_exit(None)
`;

test("a process whose first thread has ended lives until its last one has", async () => {
  const child = spawn("/usr/bin/python3", ["-c", HEADLESS], {
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  });
  const { pid } = child;
  assert.ok(pid !== undefined);
  const ended = once(child, "exit");
  try {
    while (statOf(pid)?.state !== "Z") await sleep(5);
    const { startTime = "" } = statOf(pid) ?? {};
    assert.deepEqual(groupMembers(pid), [pid]);
    assert.ok(runs(pid, startTime));
  } finally {
    child.stdin.end();
    child.kill("SIGKILL");
  }
  await ended;
  assert.deepEqual(groupMembers(pid), []);
});
