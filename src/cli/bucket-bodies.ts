import os from "node:os";
import { publishCharters } from "../bucket/publish.ts";
import { systemClock } from "../lib/clock.ts";
import { readCharters } from "../operator/home.ts";
import { initCluster } from "../operator/init.ts";
import type { Context, Result } from "./context.ts";
import { bucketHere } from "./ftl-settings.ts";
import type { InitFlags } from "./server-commands.ts";

/** The operator's identity and charter as ever, and the charter in the bucket: there is no server to start. */
export async function initBucket(context: Context, flags: InitFlags): Promise<Result> {
  const { paths, signal, io } = context;
  using bucket = await bucketHere(flags, context, "writing");
  const made = await initCluster({
    paths,
    name: flags.name ?? os.userInfo().username,
    key: flags.sshAgent === true ? "ssh-agent" : "file",
    hubs: [],
    clock: systemClock,
  });
  const tools = { documents: bucket.documents, clock: systemClock, signal };
  await publishCharters(await readCharters(paths), tools);
  if (made.already) io.say("There was a cluster here already; its charter is in the bucket now.");
  io.print(`cluster      ${made.cluster}`);
  io.print(`fingerprint  ${made.pin}`);
  io.print(`operator     ${made.operator}`);
  io.print(`bucket       ${bucket.name}`);
  io.say(`next  skein ftl spool FILE; on each machine: SKEIN_CHARTER=${made.pin} skein ftl sync`);
  const { cluster, pin, operator, already } = made;
  return { cluster, fingerprint: pin, operator, already, bucket: bucket.name };
}
