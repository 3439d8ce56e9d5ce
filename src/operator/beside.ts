import { singleProcess } from "../app/cannot-work.ts";
import type { Manifest } from "../app/manifest.ts";
import { SkeinError } from "../lib/errors.ts";
import { shortRelease, type ReleaseId } from "../lib/ids.ts";
import { orderFor, type Line } from "./order.ts";

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
    refuseSingle(target.manifest, `${shortRelease(before.app, first)} is to go on beside it (beside)`);
  return stay;
}

/** Known before anything is made: `--keep-old` keeps what the manifest says cannot stay. @throws SkeinError HANDOVER_REFUSED */
export function refuseKeepOld(manifest: Manifest): void {
  refuseSingle(manifest, "--keep-old asks for that");
}

function refuseSingle(manifest: Manifest, asked: string): void {
  const single = singleProcess(manifest);
  if (single === undefined) return;
  throw new SkeinError("HANDOVER_REFUSED", `${single}, and ${asked}`, {
    hint: "Deploy it without --keep-old and without beside, or let its versions overlap.",
    data: { app: manifest.app },
  });
}
