import { once } from "node:events";
import net from "node:net";
import fs from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { digestOf } from "../../lib/text/ids.ts";
import { errnoOf, SkeinError } from "../../lib/errors/errors.ts";

/** A program that a killed agent was just starting holds the lock until it has become itself. */
const HELD_MS = 1000;
const AGAIN_MS = 25;

/**
 * One agent for one home. The lock is a listening unix socket, on Linux in the abstract namespace, so the kernel
 * drops it with its holder: after `kill -9` nobody has to clean up.
 * @throws SkeinError AGENT_RUNNING
 */
export async function lockHome(dir: string): Promise<AsyncDisposable> {
  const real = await fs.realpath(dir);
  const until = performance.now() + HELD_MS;
  let server = await listening(socketName(real));
  while (server === undefined) {
    if (performance.now() > until)
      throw new SkeinError("AGENT_RUNNING", `an agent runs already for ${real}`, { data: { dir: real } });
    await sleep(AGAIN_MS);
    server = await listening(socketName(real));
  }
  const held = server;
  return {
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => {
        held.close(() => {
          resolve();
        });
      });
    },
  };
}

function socketName(dir: string): string {
  if (process.platform === "linux") return `\0skein-agent-${digestOf(dir).slice(0, 32)}`;
  return path.join(dir, "agent.lock");
}

/** @returns undefined where somebody else has the name */
async function listening(name: string): Promise<net.Server | undefined> {
  const server = net.createServer((socket) => socket.destroy()).listen({ path: name });
  server.unref();
  try {
    await once(server, "listening");
    return server;
  } catch (err) {
    if (errnoOf(err) === "EADDRINUSE") return undefined;
    throw err;
  }
}
