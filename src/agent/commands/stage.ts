import { SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { Digest, ReleaseId, AppEnv } from "../../lib/text/ids.ts";
import { FailureRow, retryDelayMs } from "../../lib/time/retry.ts";
import type { InstallProgress } from "../../release/install/install-progress.ts";
import type { Installed } from "../../release/install/install.ts";
import type { Command } from "../../trust/document/documents.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import type { AppContext } from "../attempt/app-context.ts";
import type { Begun } from "./begun-commands.ts";
import { linesOf, type Line } from "./command-lines.ts";
import { broughtRelease } from "./command-args.ts";
import { collectGarbage } from "../installs/gc.ts";
import { isPassing } from "../attempt/passing.ts";
import { newRecord } from "../plan/records.ts";
import { until } from "../../lib/time/until.ts";

const BACKOFF = { baseMs: 500, maxMs: 60_000 } as const;

/**
 * Places the release that a command names on this node, and activates nothing. The command brings the release's signed
 * document, so that it is worth as much from any source. Cut connections are outlasted until the command expires.
 * @throws SkeinError ORDER_UNKNOWN_RELEASE, ENV_CONFLICT, CONFLICT (it was placed before, and removed since), ORDER_EXPIRED,
 *   and what `install` throws
 */
export async function* stage(
  context: AppContext,
  { body, digest }: { readonly body: Command; readonly digest: Digest },
  begun: Begun,
  signal: AbortSignal,
): AsyncGenerator<Line, void> {
  const isDone = await begun.has(digest);
  const wish = wishOf(context, body, isDone);
  const { name, id, document } = wish;
  const { clock, releases, staged, log } = context;
  if (isDone && !(await releases.isInstalled(name.app, id))) {
    throw new SkeinError(
      "CONFLICT",
      "this very command was carried out before, and the release removed since",
    );
  }
  await releases.learn(name, id, document);
  if (!isDone) await staged.add({ ...name, release: id, at: clock.now() });
  using over = until([signal], Math.max(1, msOf(body.expires) - clock.now()));
  const placed = yield* linesOf(
    async (tell) =>
      await outlasting(
        async (onProgress) => await place(context, wish, { signal: over.signal, onProgress }),
        tell,
        context,
        over.signal,
      ),
    clock,
  );
  faultPoint("agent.staged");
  await begun.begin(digest, msOf(body.expires), clock.now());
  log.info("release staged", { ...name, release: id, bytes: placed.bytesFetched });
  await collectGarbage(context, context.records.get(name.app) ?? newRecord(name.app, name.env));
  context.onNews("later");
  yield { type: "staged", release: id, ...placed };
}

/** What is told of a release that was placed. */
type Placed = Pick<Installed, "already" | "files" | "bytesFetched" | "sources">;

async function place(
  { releases, depots }: AppContext,
  { name, id, full, throughCache }: Wish,
  how: { readonly signal: AbortSignal; readonly onProgress: Tell },
): Promise<Placed> {
  if (full || throughCache) {
    const anew = { ...how, full: true, depots: depots(throughCache ? "anew" : "far") };
    const { files, bytesFetched, sources } = await releases.mend(name, id, anew);
    return { already: false, files, bytesFetched, sources };
  }
  const { already, files, bytesFetched, sources } = await releases.ensure(
    name,
    id,
    depots(),
    how.signal,
    how.onProgress,
  );
  return { already, files, bytesFetched, sources };
}

interface Wish {
  readonly name: AppEnv;
  readonly id: ReleaseId;
  readonly document: Envelope;
  readonly full: boolean;
  readonly throughCache: boolean;
}

/** `isDone`: who hands a command over again gets its answer, and nothing is fetched twice for it. */
function wishOf(context: AppContext, command: Command, isDone: boolean): Wish {
  const { app, id, document } = broughtRelease(command);
  const { env, args } = command;
  const name = { app, env: env ?? "default" };
  const record = context.records.get(app);
  if (record !== undefined && record.env !== name.env) {
    throw new SkeinError("ENV_CONFLICT", `this node holds ${app} in ${record.env}`, {
      data: { app, env: record.env },
    });
  }
  const flags = {
    full: !isDone && args["full"] === true,
    throughCache: !isDone && args["throughCache"] === true,
  };
  return { name, id, document, ...flags };
}

/** What a cut line to a depot fails is tried again, with pauses that grow while nothing comes, until `signal` aborts. */
async function outlasting<T>(
  work: (tell: Tell) => Promise<T>,
  tell: Tell,
  { clock }: AppContext,
  signal: AbortSignal,
): Promise<T> {
  const row = new FailureRow();
  for (;;) {
    try {
      return await work((progress) => {
        row.reached(progress.bytesDone);
        tell(progress);
      });
    } catch (err) {
      if (signal.aborted)
        throw new SkeinError("ORDER_EXPIRED", "it could not be fetched in time", { cause: err });
      if (!isPassing(err)) throw err;
    }
    row.failed();
    const pauseMs = retryDelayMs(row.length, { ...BACKOFF, random: Math.random });
    await clock.sleep(pauseMs, signal).catch(() => undefined);
  }
}

type Tell = (progress: InstallProgress) => void;
