import * as z from "zod";
import { SkeinError } from "../../lib/errors/errors.ts";
import { charterSchema } from "../document/charter-schema.ts";
import { envelopeSchema } from "../document/envelope.ts";
import { appName, count, digest, envName, keyId, labels, nodeName, releaseId } from "../document/fields.ts";
import type { NodeState } from "./node-state.ts";

const serial = z.strictObject({ epoch: count, seq: count });
const held = z
  .strictObject({
    ...serial.shape,
    digest,
    order: envelopeSchema,
    progress: z.enum(["waiting", "started", "done", "undone", "withdrawn"]),
    settle: z.strictObject({ document: envelopeSchema, receipts: z.array(envelopeSchema) }).nullable(),
    contested: z.boolean(),
    // A state from before this was noted asks the charter in force, as one whose order is not started.
    mayRoot: z.boolean().default(false),
  })
  .nullable();
const app = z.strictObject({
  app: appName,
  env: envName,
  head: held,
  standing: held,
  prior: held,
  least: serial.nullable(),
  floor: z
    .strictObject({
      ...serial.shape,
      order: digest,
      release: releaseId,
      verdict: z.enum(["ok", "failed", "undone", "refused"]),
    })
    .nullable(),
});
const schema = z.strictObject({
  format: z.literal(1),
  pin: digest,
  charters: z.array(envelopeSchema).min(1),
  charter: charterSchema(),
  clock: z.int(),
  identity: z.strictObject({ node: keyId, name: nodeName, labels, serial: count }).nullable(),
  documents: z.strictObject({
    ticket: envelopeSchema.nullable(),
    enrol: envelopeSchema.nullable(),
    label: envelopeSchema.nullable(),
    revoke: envelopeSchema.nullable(),
  }),
  apps: z.record(z.string(), app),
});

export function nodeStateText(state: NodeState): string {
  return JSON.stringify(state);
}

/**
 * The state as the agent wrote it. A damaged one is not guessed at: it holds what protects from old orders.
 * @throws SkeinError STORE_CORRUPT
 */
export function readNodeState(text: string): NodeState {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new SkeinError("STORE_CORRUPT", "the node's state is damaged or of another version", {
      cause,
      hint: "Remove the node and join it anew; what runs goes on running meanwhile.",
    });
  }
}
