/** Bodies of the hub's API that are about who belongs to the cluster. */
import * as z from "zod";
import { envelope, keyId } from "./field-schemas.ts";

export const charterList = z.object({ charters: z.array(envelope) });
export const charterPost = z.strictObject({ charter: envelope });
export const ticketPost = z.strictObject({ ticket: envelope });
export const ticketView = z.object({
  ticket: envelope,
  state: z.enum(["open", "used", "expired", "revoked"]),
  node: keyId.nullable(),
});
export type TicketView = z.infer<typeof ticketView>;
export const enrolPost = z.strictObject({ enrol: envelope });
export const enrolled = z.object({ node: keyId });
export const labelPost = z.strictObject({ label: envelope });
export const revocationPost = z.strictObject({ revoke: envelope });

/** What proves a node's identity, name and labels. */
export const nodeDocuments = z.object({
  ticket: envelope,
  enrol: envelope,
  label: envelope.nullable(),
  revoke: envelope.nullable(),
});
export type NodeDocuments = z.infer<typeof nodeDocuments>;

/** What was signed about a node since it joined: its newest label, its end. */
export const change = z.strictObject({ label: envelope.nullable(), revoke: envelope.nullable() });

/** So many changes are told and remembered, the newest. */
export const CHANGES_KEPT = 1000;

/** What a node keeps for a hub whose store may be set back to a time before it. */
export const membership = z.object({
  /** Opaque: by it the hub knows later that it had let the calling node in. */
  mark: z.string().max(128),
  /** Oldest first. */
  changes: z.array(z.object(change.shape)).max(CHANGES_KEPT),
  /** Where to go on from. */
  revision: z.int(),
});
export type Membership = z.infer<typeof membership>;

export const reminder = z.strictObject({
  charters: z.array(envelope).max(1000),
  changes: z.array(change).max(CHANGES_KEPT),
});
export type Reminder = z.infer<typeof reminder>;

/** A node that the hub does not know says who it is. */
export const returnPost = z.strictObject({
  ticket: envelope,
  enrol: envelope,
  mark: z.string().max(128),
  reminder,
});
export type ReturnPost = z.infer<typeof returnPost>;
