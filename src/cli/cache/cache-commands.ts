import type { Command } from "commander";
import type { CacheGcFlags } from "./cache-words.ts";
import type { Run } from "../command/group.ts";
import type { CacheFlags } from "./cache-bodies.ts";

const ELSEWHERE = ["--address <node>", "a node's name or address; default: this machine"] as const;

const SOURCE = ["[path]", "a folder, archive or file; default: what is here"] as const;

/** cache ls put get diff update repair persist flush gc. */
export function registerCache(program: Command, run: Run): void {
  const cache = program
    .command("cache")
    .description(
      "this machine's cache of releases, or a node's (--address, --on); none of it is ever needed",
    );
  const verb = (text: string, about: string): Command =>
    cache
      .command(text)
      .description(about)
      .option(...ELSEWHERE);
  const bodies = async () => await import("./cache-bodies.ts");
  verb("ls", "what was put in, and what else is held").action(async (flags: CacheFlags, command: Command) => {
    await run(command, async (context) => await (await bodies()).list(context, flags));
  });
  verb(
    "put [what...]",
    "keep a folder, archive or file, or a release: APP@RELEASE, APP VERSION, PACKAGE.REVISION",
  ).action(async (words: string[], flags: CacheFlags, command: Command) => {
    await run(command, async (context) => await (await bodies()).put(context, words, flags));
  });
  verb("get", "write out what was put in, every file checked")
    .argument("<name>", "as skein cache ls shows it")
    .argument("[to]", "a folder that is not there yet; default: NAME, here")
    .action(async (name: string, to: string | undefined, flags: CacheFlags, command: Command) => {
      await run(command, async (context) => await (await bodies()).get(context, name, to, flags));
    });
  verb("diff", "compare with a source and what is built of it; exit 10 when they differ")
    .argument(...SOURCE)
    .action(async (path: string | undefined, flags: CacheFlags, command: Command) => {
      await run(command, async (context) => await (await bodies()).diff(context, path ?? ".", flags));
    });
  verb("update", "put in a source and what is built of it, where they changed")
    .argument(...SOURCE)
    .action(async (path: string | undefined, flags: CacheFlags, command: Command) => {
      await run(command, async (context) => await (await bodies()).update(context, path ?? ".", flags));
    });
  verb("repair", "read everything that is held, and mend what is damaged")
    .argument("[path]", "with --rebuild: what it builds; default: what is here")
    .option("--rebuild", "compare with a build from scratch, too, and put that in")
    .action(async (path: string | undefined, flags: CacheFlags, command: Command) => {
      await run(command, async (context) => await (await bodies()).repair(context, path, flags));
    });
  verb("persist [to]", "send what was put in to a node, or to a bucket (s3://BUCKET/PREFIX, dir:PATH)")
    .option("--s3-bucket <bucket>", "the same as s3://BUCKET")
    .action(async (to: string | undefined, flags: CacheFlags, command: Command) => {
      await run(command, async (context) => await (await bodies()).persist(context, to, flags));
    });
  verb("flush", "remove all that is held").action(async (flags: CacheFlags, command: Command) => {
    await run(command, async (context) => await (await bodies()).flush(context, flags));
  });
  verb("gc [what...]", "count N keeps what the N used last need, older DATE removes what was not used since")
    .option("--count <n>", "keep what so many releases need")
    .option("--older <when>", "remove what was last used before 3d, or before a date")
    .action(async (words: string[], flags: CacheFlags & CacheGcFlags, command: Command) => {
      await run(command, async (context) => await (await bodies()).gc(context, words, flags));
    });
}
