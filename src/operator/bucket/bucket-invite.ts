import { randomBytes } from "node:crypto";
import { fewAtOnce } from "../../lib/async/few-at-once.ts";
import { formatCarriedTicket } from "../../trust/members/carried-ticket.ts";
import type { Ticket } from "../../trust/document/documents.ts";
import { seal } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { signerFromSeed } from "../../trust/keys/keys.ts";
import { matches, parseSelector } from "../../trust/document/selector.ts";
import { announce } from "../tell/dry-run.ts";
import { inviteDeed } from "../nodes/nodes.ts";
import { ordersBack } from "./bucket-line.ts";
import type { BucketOperator } from "./bucket-operator.ts";

export interface BucketInvitation {
  /** What `skein agent run --source --join` takes; a secret until it expires. */
  readonly line: string;
  readonly expires: string;
}

/** Makes a ticket that the line itself carries. Whoever has it may join with its labels until it expires. */
export async function inviteToBucket(
  operator: BucketOperator,
  wish: {
    readonly name: string | null;
    readonly labels: Readonly<Record<string, string>>;
    readonly validMs: number;
  },
  signal: AbortSignal,
): Promise<BucketInvitation> {
  const { charter, signer, clock } = operator;
  const { pin } = operator.config;
  const seed = randomBytes(32);
  const now = clock.now();
  const expires = timeOf(now + wish.validMs);
  const { name, labels } = wish;
  announce(operator, () => inviteDeed({ name, labels, replaces: null, expires }));
  const body: Ticket = {
    cluster: charter.cluster,
    charter: pin,
    key: signerFromSeed(seed).pub,
    name,
    labels: { ...labels },
    issued: timeOf(now),
    expires,
    replace: null,
    floor: await floorOf(operator, { name, labels }, signal),
  };
  return {
    line: formatCarriedTicket({ pin, seed, ticket: await seal("ticket.1", body, [signer]) }),
    expires,
  };
}

/** So far back a node looks for an order that names it. */
const READ_BACK = 20;

/**
 * What a new node must not go below, whatever the bucket shows it later: of each app the newest order that is for it.
 * Not the newest of all, which may be for other nodes alone; nor what the root says, which anybody may have written.
 */
async function floorOf(
  { bucket, charter, clock, root }: BucketOperator,
  { name, labels }: { readonly name: string | null; readonly labels: Readonly<Record<string, string>> },
  signal: AbortSignal,
): Promise<Ticket["floor"]> {
  const lines = Object.entries(root.apps).flatMap(([app, { orders }]) =>
    Object.keys(orders).map((env) => ({ app, env })),
  );
  const look = { bucket, charter, now: clock.now(), signal };
  const floors = await fewAtOnce(lines, async ({ app, env }) => {
    let left = READ_BACK;
    for await (const { order } of ordersBack(app, env, look)) {
      const { epoch, seq, selector } = order;
      // Whom it leaves out by name is not known of one that will name itself.
      const isSure = name !== null || !selector.includes("!");
      if (isSure && matches(parseSelector(selector), { name: name ?? "", labels }))
        return [[`${app}/${env}`, { epoch, seq }] as const];
      if (--left === 0) break;
    }
    return [];
  });
  return Object.fromEntries(floors.flat());
}
