import type { WantedApp } from "../../api/schemas.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Roster } from "../../trust/document/documents.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";

/**
 * The same with the rosters of its orders that a hub leaves out for their size. Nothing is believed of either: what an
 * order signed is its roster's digest.
 * @param find undefined where nobody has it: then a settle is not proved by it
 */
export async function withRosters<T extends { readonly apps: readonly WantedApp[] }>(
  wanted: T,
  find: (digest: Digest) => Promise<Roster | undefined>,
): Promise<T> {
  const apps: WantedApp[] = [];
  for (const app of wanted.apps) {
    const rosters = { ...app.rosters };
    for (const digest of app.orders.flatMap(rosterOf)) {
      const roster = rosters[digest] ?? (await find(digest));
      if (roster !== undefined) rosters[digest] = roster;
    }
    apps.push({ ...app, rosters });
  }
  return { ...wanted, apps };
}

/** An order that cannot be read is refused where it is taken. */
function rosterOf(order: Envelope): readonly Digest[] {
  try {
    return [readUnverified(order, "order.1").roster];
  } catch (err) {
    if (isSkeinError(err)) return [];
    throw err;
  }
}
