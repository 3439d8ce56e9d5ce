import { httpDepot } from "../../depot/http/http-depot.ts";
import { stage as stageRelease, STAGE_WITHIN_MS } from "../../operator/deploy/stage.ts";
import { HELPER_DIR, type Context, type Result } from "../command/context.ts";
import { deployWish } from "../command/app-here.ts";
import { durationFlag, usage } from "../command/grammar.ts";
import { progress } from "../terminal/progress.ts";
import { sayStaged } from "./stage-text.ts";

export interface StageFlags {
  readonly from?: string;
  readonly version?: string;
  readonly full?: boolean;
  readonly throughCache?: boolean;
  readonly applyWithin?: string;
}

export async function stage(context: Context, words: readonly string[], flags: StageFlags): Promise<Result> {
  const operator = await context.operator();
  const { env, cwd, signal } = context;
  const wish = await deployWish(context, words, flags, "cp");
  const shown = progress(context.io);
  const staged = await stageRelease(operator, {
    ...wish,
    env,
    cwd,
    full: flags.full === true,
    throughCache: flags.throughCache === true,
    withinMs: withinOf(flags),
    depot: httpDepot(operator.client),
    helperDir: HELPER_DIR,
    tell: (event) => {
      shown.tell(event);
      if (event.type === "staging")
        context.comeBack("The nodes go on without you. Run it again to see how far they are.");
    },
    signal,
  });
  sayStaged(context.io, staged);
  return { ...staged };
}

function withinOf({ applyWithin }: StageFlags): number {
  const ms = applyWithin === undefined ? STAGE_WITHIN_MS.usual : durationFlag(applyWithin);
  if (ms <= STAGE_WITHIN_MS.longest) return ms;
  throw usage(`${applyWithin ?? ""} is too long to wait for a node`, "At most --apply-within 7d.");
}
