import { cp } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { SkeinError } from "../../lib/errors.ts";
import { programFile } from "../../lib/program.ts";
import type { Context, Result } from "../command/context.ts";
import { DemoCluster } from "./cluster.ts";
import { story } from "./story.ts";

/** Cleans up after itself, also on Ctrl-C; fails when a single request was lost. */
export async function demo({ io, signal }: Context, keep: boolean): Promise<Result> {
  if (os.platform() !== "linux") {
    throw new SkeinError(
      "USAGE",
      "the demo gives each node an address of its own (127.0.0.2 ...), which needs Linux",
    );
  }
  await using cluster = await DemoCluster.make(signal);
  try {
    const { lost, sent } = await story(cluster, programFile("examples"), io);
    io.print(`\nrequests lost in all: ${lost} of ${sent}`);
    return { lost, sent, ...(lost === 0 ? {} : { exit: 1 }) };
  } finally {
    if (keep) {
      const kept = path.join(os.tmpdir(), `${path.basename(cluster.folder)}-logs`);
      await cp(cluster.folder, kept, { recursive: true, filter: (file) => !/\/(run|lib)$/.test(file) });
      io.say(`logs: ${kept}`);
    }
  }
}
