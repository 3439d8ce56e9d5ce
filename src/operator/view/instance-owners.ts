import type { PortEntry } from "../../api/schemas.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { instanceOf } from "../../lib/text/instance-id.ts";

/**
 * The apps of which a node has an instance of this name (`web.1`, or its whole id), by the port table.
 * @param apps those that the node has; all of them where the table names none: one that was just started comes later
 */
export function ownersOf(
  apps: readonly string[],
  table: readonly PortEntry[],
  node: KeyId,
  instance: string,
): readonly string[] {
  const named = table.filter(
    (entry) =>
      entry.node === node && (entry.instance === instance || instanceOf(entry.instance, entry) === instance),
  );
  const owners = apps.filter((app) => named.some((entry) => entry.app === app));
  return owners.length === 0 ? apps : owners;
}
