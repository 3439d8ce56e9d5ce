import net from "node:net";
import { until } from "../../test/support/processes.ts";

const EVERY_MS = 5;

/**
 * Resolves as soon as `host:port` answers 200 with exactly `text`. A version that runs answers each time it is asked, so
 * asking costs as little as it can: a bare socket, 5 ms after the last answer.
 */
export async function firstAnswer(
  host: string,
  port: number,
  text: string,
  signal: AbortSignal,
): Promise<void> {
  const isIt = async (): Promise<true | undefined> => {
    const answer = await ask(host, port);
    return answer.startsWith("HTTP/1.1 200 ") && answer.includes(text) ? true : undefined;
  };
  await until(`${host}:${port} answers ${text}`, isIt, { everyMs: EVERY_MS, withinMs: 60_000, signal });
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
