import { watch } from "node:fs/promises";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Context, Result } from "../command/context.ts";
import { deploy } from "./deploy-bodies.ts";
import type { DeployFlags } from "../command/verb-flags.ts";
import { deployWords } from "../command/grammar.ts";
import { leaveWithReader } from "../terminal/reader-gone.ts";
import { exitOf, reportError } from "../terminal/report-error.ts";

/** Changes that come within this time are deployed together. */
const SETTLE_MS = 300;
const IGNORED = /(^|\/)(\.git|node_modules|\.skein)(\/|$)/;

/** Deploys a folder as it is, again after each change; a deployment that fails is told, and the next one tried. */
export async function deployWatch(
  context: Context,
  words: readonly string[],
  flags: DeployFlags,
): Promise<Result> {
  const { app, version, from } = deployWords(words, {
    app: context.globals.app,
    ...flags,
    on: context.globals.on,
  });
  if (version !== null) {
    throw new SkeinError("USAGE", "a version does not change, so there is nothing to watch", {
      hint: "Leave the version out, or --watch.",
    });
  }
  using _ = leaveWithReader();
  const folder = from ?? context.cwd;
  const again = { ...flags, from: folder };
  const named = app === null ? [] : [app];
  const changed = changes(folder, context.signal);
  await once(context, named, again);
  for await (const _change of changed) {
    context.io.say("The files changed.");
    await once(context, named, again);
  }
  return {};
}

async function once(context: Context, words: readonly string[], flags: DeployFlags): Promise<void> {
  try {
    await deploy(context, words, flags);
  } catch (err) {
    if (context.signal.aborted || !isSkeinError(err)) throw err;
    if (exitOf(err) === 2 && err.code === "USAGE") throw err;
    reportError(context.io, err);
  }
  context.comeBack("What was deployed runs on.");
}

/** One item for each burst of changes under a folder, from now on. Ends with `signal`. */
function changes(folder: string, signal: AbortSignal): AsyncGenerator<true, void> {
  let news = Promise.withResolvers<true>();
  const follow = async (): Promise<void> => {
    for await (const { filename } of watch(folder, { recursive: true, signal })) {
      if (filename === null || !IGNORED.test(filename)) news.resolve(true);
    }
  };
  const ended = follow().catch((err: unknown) => {
    // It may end while a deployment is under way and nobody waits for news.
    news.promise.catch(() => undefined);
    news.reject(err);
  });
  const bursts = async function* (): AsyncGenerator<true, void> {
    while (!signal.aborted) {
      await news.promise;
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      news = Promise.withResolvers<true>();
      yield true;
    }
    await ended;
  };
  return bursts();
}
