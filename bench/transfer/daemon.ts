import net from "node:net";
import path from "node:path";
import { ended, signalQuietly } from "../../test/support/processes.ts";
import type { Field } from "./peer.ts";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

export interface Daemon {
  readonly pid: number;
  /** Kills it with its children and waits for its end. */
  stop(): Promise<void>;
}

/** Starts a server and waits until it takes connections at the sender's address. */
export async function listening(
  field: Field,
  port: number,
  command: string,
  args: readonly string[],
): Promise<Daemon> {
  const log = path.join(field.dir, `${path.basename(command)}.log`);
  const child = field.processes.start(command, args, { cwd: field.dir, env: process.env, log });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} did not start`);
  await eventually(`${command} listens`, () => connects(field.wire.sender, port), { signal: field.signal });
  return {
    pid,
    stop: async () => {
      signalQuietly(-pid, "SIGKILL");
      await ended(child);
    },
  };
}

async function connects(host: string, port: number): Promise<true> {
  return await new Promise((resolve, reject) => {
    const socket = net.connect(port, host);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
