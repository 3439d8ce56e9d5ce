import net from "node:net";
import fs from "node:fs/promises";
import path from "node:path";
import { digestOf } from "../../lib/ids.ts";
import { errnoOf, SkeinError } from "../../lib/errors.ts";

/**
 * One agent for one home. The lock is a listening unix socket, on Linux in the abstract namespace, so the kernel
 * drops it with its holder: after `kill -9` nobody has to clean up.
 * @throws SkeinError AGENT_RUNNING
 */
export async function lockHome(dir: string): Promise<AsyncDisposable> {
  const real = await fs.realpath(dir);
  const server = net.createServer((socket) => socket.destroy());
  server.unref();
  try {
    await listen(server, socketName(real));
  } catch (err) {
    if (errnoOf(err) !== "EADDRINUSE") throw err;
    throw new SkeinError("AGENT_RUNNING", `an agent runs already for ${real}`, { data: { dir: real } });
  }
  return {
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => {
        server.close(() => {
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

async function listen(server: net.Server, name: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path: name }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
