/**
 * Rosters name every node that an order is for. Small ones go with each answer; of a large one each answer would be as
 * long as the fleet, so nodes ask for it by its digest, once: orders to the same nodes share it.
 */
import type http from "node:http";
import { CODED, encode } from "../../api/coding.ts";
import type { Roster } from "../../trust/documents.ts";
import { acceptedCodings, sendBody } from "../http/http.ts";

/** Some 10 kB of names and labels: half of what a body and its dictionary may be to be coded on the spot. */
const SMALL_NODES = 128;

export const goesAlong = ({ nodes }: Roster): boolean => nodes.length <= SMALL_NODES;

/** All nodes ask at once for the same bytes. */
const BODIES = new WeakMap<Roster, { readonly plain: Buffer; readonly coded: Promise<Buffer> }>();

export async function sendRoster(
  { req, res }: { readonly req: http.IncomingMessage; readonly res: http.ServerResponse },
  roster: Roster,
): Promise<void> {
  const { plain, coded } = bodiesOf(roster);
  if (!acceptedCodings(req).has(CODED)) return sendBody(res, 200, plain);
  return sendBody(res, 200, await coded, { "content-encoding": CODED });
}

function bodiesOf(roster: Roster): { readonly plain: Buffer; readonly coded: Promise<Buffer> } {
  const known = BODIES.get(roster);
  if (known !== undefined) return known;
  const plain = Buffer.from(JSON.stringify(roster));
  const bodies = { plain, coded: encode(plain) };
  BODIES.set(roster, bodies);
  return bodies;
}
