import { messageOf } from "../../lib/errors/errors.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { openOperator } from "../../operator/identity/operator.ts";
import { readManifest } from "../../operator/source/source.ts";
import { stage, STAGE_WITHIN_MS } from "../../operator/deploy/stage.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { HELPER_DIR } from "../command/context.ts";
import { processIo, type Io } from "../terminal/io.ts";
import { progress } from "../terminal/progress.ts";
import type { PushedBranch } from "./push-watch.ts";
import { reportError } from "../terminal/report-error.ts";
import { sayStaged } from "../deploy/stage-text.ts";

export interface PushedOptions {
  readonly paths: Paths;
  /** The repository's name on the hub: the app's where the manifest gives none. */
  readonly repo: string;
  readonly env: string;
  readonly cwd: string;
  readonly pushed: readonly PushedBranch[];
  readonly signal: AbortSignal;
}

/**
 * Releases and stages each pushed commit whose own manifest asks for it with `stage_on_push`. The push stands whatever
 * comes of it: a failure is said, and where it leaves things, and nothing is thrown.
 */
export async function stagePushed(options: PushedOptions): Promise<void> {
  // git reads the helper's stdout.
  const io: Io = { ...processIo({}), print: (line) => io.say(line) };
  for (const one of options.pushed) {
    try {
      await stageOne(io, one, options);
    } catch (err) {
      io.say(`skein: ${one.branch} was pushed, and is not staged: ${messageOf(err)}`);
      reportError(io, err);
    }
  }
}

async function stageOne(io: Io, { branch, commit }: PushedBranch, options: PushedOptions): Promise<void> {
  const { paths, repo, env, cwd, signal } = options;
  const origin = { kind: "commit", repo: cwd, commit, folder: "", name: repo } as const;
  const { app, stageOnPush } = await readManifest(origin, { env, signal });
  if (stageOnPush !== branch) return;
  io.say(`skein: staging ${branch} (${commit.slice(0, 12)}): stage_on_push`);
  using operator = await openOperator({ paths, signal });
  const shown = progress(io);
  const staged = await stage(operator, {
    app,
    version: commit,
    selector: null,
    from: null,
    env,
    cwd,
    full: false,
    throughCache: false,
    withinMs: STAGE_WITHIN_MS.usual,
    depot: httpDepot(operator.client),
    helperDir: HELPER_DIR,
    tell: shown.tell,
    signal,
  });
  sayStaged(io, staged);
}
