import { SkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { currentOf, type AppRecord } from "../plan/records.ts";
import { instanceId } from "../../lib/text/instance-id.ts";
import type { InstanceRow } from "../runtime/instance-rows.ts";

type Named = Pick<InstanceRow, "app" | "instance" | "release" | "generation">;

/**
 * What serves: while an order is being ended, its receipt is out before what it reached is recorded.
 * @throws SkeinError RELEASE_NOT_FOUND
 */
export function servingBy(record: AppRecord): ReleaseId {
  const release = serving(record);
  if (release !== null) return release;
  throw new SkeinError("RELEASE_NOT_FOUND", `nothing of ${record.app} runs here`);
}

const MOST_NAMED = 12;

/**
 * An instance by the id that reports give, or `web.1` of what serves.
 * @param rows the app's
 * @throws SkeinError NOT_FOUND
 */
export function namedInstance<Row extends Named>(rows: readonly Row[], record: AppRecord, name: string): Row {
  const current = serving(record);
  const found =
    rows.find((row) => instanceId(row) === name) ??
    rows.findLast(({ instance, release }) => instance === name && release === current);
  if (found !== undefined) return found;
  const there = [...new Set(rows.map(({ instance }) => instance))].slice(0, MOST_NAMED);
  throw new SkeinError("NOT_FOUND", `no instance ${name} of ${record.app} on this node`, {
    ...(there.length === 0 ? {} : { hint: `It has ${there.join(", ")}.` }),
    data: { instances: [...new Set(rows.map(instanceId))] },
  });
}

const serving = (record: AppRecord): ReleaseId | null =>
  currentOf(record, record.env) ?? record.reached?.release ?? null;
