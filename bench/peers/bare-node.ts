/** `node server.js` and nothing else: what one Node costs in time and memory on this machine. */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { freePort } from "../../src/lib/testing/free-port.fixture.ts";
import { Processes, residentMib } from "../../test/support/processes.ts";
import { firstAnswer } from "../../test/support/answers.ts";

const SERVER =
  'require("node:http").createServer((q, r) => r.end("ok\\n")).listen(process.env.PORT, "127.0.0.1");\n';

export interface BareNode {
  /** Milliseconds from starting the process to its first answer. */
  readonly answeredMs: number;
  readonly residentMib: number;
}

/** Starts one, lets it idle for `idleMs`, measures and ends it. */
export async function bareNode(idleMs: number, signal: AbortSignal): Promise<BareNode> {
  const folder = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), "skein-bare-node-")));
  try {
    await fs.writeFile(path.join(folder, "server.js"), SERVER);
    await using processes = new Processes(folder);
    const port = await freePort();
    const begin = performance.now();
    const server = processes.start(process.execPath, ["server.js"], {
      cwd: folder,
      env: { PORT: String(port) },
      log: path.join(folder, "log"),
    });
    await firstAnswer(`http://127.0.0.1:${port}/`, "ok\n", signal);
    const answeredMs = performance.now() - begin;
    if (server.pid === undefined) throw new Error("no pid");
    if (idleMs > 0) await new Promise((resolve) => setTimeout(resolve, idleMs));
    return { answeredMs, residentMib: residentMib(server.pid) };
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
}
