import { randomBytes } from "node:crypto";
import { orderPlaceOf } from "../../bucket/layout.ts";
import type { Root } from "../../bucket/root.ts";
import { formatCarriedTicket } from "../../trust/carried-ticket.ts";
import type { Ticket } from "../../trust/documents.ts";
import { seal } from "../../trust/envelope.ts";
import { timeOf } from "../../trust/fields.ts";
import { signerFromSeed } from "../../trust/keys.ts";
import { announce } from "../dry-run.ts";
import { inviteDeed } from "../nodes.ts";
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
): Promise<BucketInvitation> {
  const { charter, signer, clock, root } = operator;
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
    floor: floorOf(root),
  };
  return {
    line: formatCarriedTicket({ pin, seed, ticket: await seal("ticket.1", body, [signer]) }),
    expires,
  };
}

/** What a new node must not go below, whatever the bucket shows it later. */
function floorOf(root: Root): Ticket["floor"] {
  const places = Object.values(root.apps).flatMap(({ orders }) =>
    Object.values(orders).flatMap((name) => orderPlaceOf(name) ?? []),
  );
  return Object.fromEntries(places.map(({ app, env, epoch, seq }) => [`${app}/${env}`, { epoch, seq }]));
}
