/** A hub as a process of its own, to be killed: `node hub-process.child.ts HOME PORT`. Prints one line when it listens. */
import { createPrivateKey } from "node:crypto";
import fs from "node:fs/promises";
import path from "node:path";
import { directoryDepot } from "../depot/directory/directory.ts";
import { stderrLog } from "../lib/process/log.ts";
import { pathsFrom } from "../lib/disk/paths.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { parseEnvelope } from "../trust/document/envelope.ts";
import { signerOf } from "../trust/keys/keys.ts";
import { startHub } from "./start-hub.ts";

const [home = "", port = "0"] = process.argv.slice(2);
const paths = pathsFrom({ SKEIN_HOME: home });
await fs.mkdir(paths.lib, { recursive: true });
const key = signerOf(createPrivateKey(await fs.readFile(path.join(home, "hub.key"))));
const charter = parseEnvelope(await fs.readFile(path.join(home, "charter.json"), "utf8"));
const hub = await startHub({
  store: await openSqliteStore(path.join(paths.lib, "hub.db")),
  depot: directoryDepot(path.join(paths.lib, "depot")),
  paths,
  listen: { host: "127.0.0.1", port: Number(port) },
  key,
  charters: [charter],
  log: stderrLog,
  signal: new AbortController().signal,
  version: "0.0.0",
});
process.stdout.write(`${hub.port}\n`);
