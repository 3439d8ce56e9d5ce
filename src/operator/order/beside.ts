import { singleProcess } from "../../app/cannot-work.ts";
import type { Manifest } from "../../app/manifest.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, shortRelease, type ReleaseId, type AppEnv } from "../../lib/text/ids.ts";
import type { Operator } from "../identity/operator.ts";
import { orderFor, type Line } from "./order.ts";
import { findRelease } from "../release/release.ts";
import { manifestOfRelease } from "../release/release-manifest.ts";

const MAX_BESIDE = 100;

/**
 * The older releases that go on running: the newest first, the one that is deployed not among them.
 * @throws SkeinError HANDOVER_REFUSED where there are some, and what is deployed may not run beside another version
 */
export function besideFor(
  line: Line,
  target: { readonly release: ReleaseId; readonly manifest: Manifest },
  { keepOld, selector }: { readonly keepOld: boolean; readonly selector: string },
): ReleaseId[] {
  if (keepOld) refuseKeepOld(target.manifest);
  const before = orderFor(line, selector)?.order;
  const most = keepOld || target.manifest.beside === "all" ? MAX_BESIDE : target.manifest.beside;
  if (before === undefined) return [];
  const running = before.state === "run" ? [before.release, ...before.beside] : before.beside;
  const stay = [...new Set(running)].filter((id) => id !== target.release).slice(0, most);
  const [first] = stay;
  if (first !== undefined)
    refuseSingle(
      target.manifest,
      `${shortRelease(before.app, first)} is to go on beside it (beside)`,
      UNASKED,
    );
  return stay;
}

/** Known before anything is made: `--keep-old` keeps what the manifest says cannot stay. @throws SkeinError HANDOVER_REFUSED */
export function refuseKeepOld(manifest: Manifest): void {
  refuseSingle(manifest, "--keep-old asks for that", UNASKED);
}

/**
 * The same for a release that is there already, and is to run while others go on. One whose manifest cannot be read
 * from here is left to the nodes, which judge it by their own copy.
 * @throws SkeinError HANDOVER_REFUSED
 */
export async function refuseAloneBeside(
  operator: Operator,
  {
    app,
    env,
    release,
    beside,
  }: AppEnv & { readonly release: ReleaseId; readonly beside: readonly ReleaseId[] },
  signal: AbortSignal,
): Promise<void> {
  const [first] = beside;
  if (first === undefined) return;
  const depot = httpDepot(operator.client);
  const found = await findRelease(operator, app, release, signal);
  const manifest = found && (await manifestOfRelease(found, { depot, env, signal }).catch(() => undefined));
  signal.throwIfAborted();
  if (manifest === undefined) return;
  refuseSingle(
    manifest,
    `${shortRelease(app, first)} is to go on beside it`,
    `Deploy it, and it takes the place of what runs: skein deploy ${appAsTyped(app, env)} ${release.slice(0, 8)}`,
  );
}

const UNASKED = "Deploy it without --keep-old and without beside, or let its versions overlap.";

function refuseSingle(manifest: Manifest, asked: string, hint: string): void {
  const single = singleProcess(manifest);
  if (single === undefined) return;
  throw new SkeinError("HANDOVER_REFUSED", `${single}, and ${asked}`, { hint, data: { app: manifest.app } });
}
