/**
 * Rosters name every node that an order is for. Small ones go with each answer; of a large one each answer would be as
 * long as the fleet, so nodes ask for it by its digest, once: orders to the same nodes share it.
 */
import type http from "node:http";
import { CODED, encode } from "../../api/body-coding.ts";
import type { Roster } from "../../trust/document/documents.ts";
import { acceptedCodings, sendBody, sendJson } from "../http/http.ts";

/** Some 13 kB of names and labels: with the dictionary, which has them as well, they are still coded on the spot. */
const SMALL_NODES = 128;

export const goesAlong = ({ nodes }: Roster): boolean => nodes.length <= SMALL_NODES;

/** All nodes ask at once for the same bytes. */
const CODED_ROSTERS = new WeakMap<Roster, Promise<Buffer>>();

export async function sendRoster(
  { req, res }: { readonly req: http.IncomingMessage; readonly res: http.ServerResponse },
  roster: Roster,
): Promise<void> {
  if (!acceptedCodings(req).has(CODED)) return sendJson(res, 200, roster);
  const coded = CODED_ROSTERS.get(roster) ?? encode(Buffer.from(JSON.stringify(roster)));
  CODED_ROSTERS.set(roster, coded);
  return sendBody(res, 200, await coded, { "content-encoding": CODED });
}
