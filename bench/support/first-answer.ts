import fs from "node:fs/promises";
import net from "node:net";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

const EVERY_MS = 2;
const WITHIN_MS = 60_000;

/**
 * Resolves as soon as `host:port` answers 200 with exactly `text`. A version that runs answers each time it is asked, so
 * asking costs as little as it can: a bare socket, 2 ms after the last answer.
 */
export async function firstAnswer(
  host: string,
  port: number,
  text: string,
  signal: AbortSignal,
): Promise<void> {
  const isIt = async (): Promise<boolean> => {
    const answer = await ask(host, port);
    return answer.startsWith("HTTP/1.1 200 ") && answer.includes(text);
  };
  await eventually(`${host}:${port} answers ${text}`, isIt, {
    everyMs: EVERY_MS,
    withinMs: WITHIN_MS,
    signal,
  });
}

/**
 * Resolves when `current` in an app's folder is another one, which is before the new version gets its first request:
 * until then asking can tell nothing, and costs the version that answers, and this program, half a core. At once where
 * there is no such folder yet.
 */
export async function currentMoves(folder: string, signal: AbortSignal): Promise<void> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(WITHIN_MS)]);
  try {
    for await (const { filename } of fs.watch(folder, { signal: within })) if (filename === "current") return;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== "ENOENT") throw err;
  }
}

async function ask(host: string, port: number): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = net.connect(port, host);
    let answer = "";
    socket.setTimeout(5000, () => socket.destroy(new Error("no answer within 5 s")));
    socket.setEncoding("latin1").on("data", (part: string) => (answer += part));
    socket.once("error", reject);
    socket.once("close", () => resolve(answer));
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  });
}
