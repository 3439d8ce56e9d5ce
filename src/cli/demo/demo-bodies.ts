import { cp } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { SkeinError } from "../../lib/errors/errors.ts";
import { programFile } from "../../lib/process/program.ts";
import type { Context, Result } from "../command/context.ts";
import { DemoCluster } from "./cluster.ts";
import { story, type Told } from "./story.ts";

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
    const told = await story(cluster, programFile("examples"), io);
    io.print(`\nrequests lost in all: ${told.lost} of ${told.sent}`);
    return resultOf(told);
  } finally {
    if (keep) {
      const kept = path.join(os.tmpdir(), `${path.basename(cluster.folder)}-logs`);
      await cp(cluster.folder, kept, { recursive: true, filter: (file) => !/\/(run|lib)$/.test(file) });
      io.say(`logs: ${kept}`);
    }
  }
}

/** A single lost request is a failure. */
export function resultOf({ lost, sent }: Told): Result {
  return { lost, sent, ...(lost === 0 ? {} : { exit: 1 }) };
}
