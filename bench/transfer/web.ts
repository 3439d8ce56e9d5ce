import fs from "node:fs/promises";
import path from "node:path";
import { listening, type Daemon } from "./daemon.ts";
import { PORTS, type Field } from "./peer.ts";

export interface Web extends Daemon {
  /** What lies here is served. */
  readonly dir: string;
  readonly url: string;
}

/** A web server for plain files, in a process of its own so that its CPU time can be told apart. */
export async function serveFiles(field: Field): Promise<Web> {
  const dir = await fs.mkdtemp(path.join(field.dir, "web-"));
  const script = path.join(import.meta.dirname, "../peers/transfer-web.ts");
  const { sender } = field.wire;
  const daemon = await listening(field, PORTS.http, process.execPath, [
    script,
    dir,
    sender,
    String(PORTS.http),
  ]);
  return { ...daemon, dir, url: `http://${sender}:${PORTS.http}` };
}
