import { messageOf } from "../../lib/errors/errors.ts";
import { readIfThere } from "../../lib/disk/files.ts";
import type { Log } from "../../lib/process/log.ts";

/**
 * What a file of the agent's own says; undefined where there is none, and where it is damaged: a disk that lies about
 * flushes leaves files without their content after a power cut. For what the agent can do without or gets again; a
 * damaged one is told, and written anew with the next change.
 */
export async function readOwn<T>(file: string, parse: (text: string) => T, log: Log): Promise<T | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch (err) {
    log.error("a file is damaged, and done without", {
      file,
      "err.code": "STORE_CORRUPT",
      "err.message": messageOf(err).slice(0, 200),
    });
    return undefined;
  }
}
