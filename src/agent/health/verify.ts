import { SkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { AppContext } from "../attempt/app-context.ts";
import { runVerify, runVersion } from "../programs/hooks.ts";
import type { AppRecord } from "../plan/records.ts";
import { versionOf } from "../attempt/steps.ts";

/** What a release says that its version is: what its `version` prints, else its commit or id. */
export async function versionSaid(
  { releases, clock, groups, logOf }: AppContext,
  record: AppRecord,
  release: ReleaseId,
  signal: AbortSignal,
): Promise<string> {
  const loaded = await releases.load(record, release);
  const tools = { clock, groups, signal, log: logOf(record.app) };
  return (await runVersion(loaded.place(null), tools)) ?? versionOf(loaded);
}

/**
 * Runs a release's own verification against what of it serves now.
 * @returns whether it has one
 * @throws SkeinError VERIFY_FAILED, also when it has processes and none of them serves here
 */
export async function verifyServing(
  { releases, instances, clock, groups, logOf }: AppContext,
  record: AppRecord,
  release: ReleaseId,
  signal: AbortSignal,
): Promise<boolean> {
  const run = (await instances.running(record.app)).findLast((one) => one.release === release);
  const loaded = await releases.load(record, release);
  if (run === undefined && Object.keys(loaded.manifest.processes).length > 0) {
    throw new SkeinError("VERIFY_FAILED", `${record.app}@${release.slice(0, 8)} does not run here`);
  }
  const addresses = run === undefined ? {} : await instances.addresses(run);
  const tools = { clock, groups, signal, log: logOf(record.app) };
  await runVerify(loaded.place(null), versionOf(loaded), addresses, tools);
  return loaded.manifest.verify !== null;
}
