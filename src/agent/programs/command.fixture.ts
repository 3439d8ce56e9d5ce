import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Command } from "../../trust/document/documents.ts";
import { digestOfEnvelope, seal, type Envelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import type { LocalSigner } from "../../trust/keys/keys.ts";
import { type World } from "../agent.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

export type Line = Record<string, unknown>;

/** A command to the world's node, for the app shop, signed by its operator unless something else is said. */
export async function commandTo(
  w: World,
  kind: string,
  args: Command["args"],
  more: Partial<Command> & { readonly signer?: LocalSigner } = {},
): Promise<Envelope> {
  const { signer = w.cluster.alice, ...fields } = more;
  const body: Command = {
    cluster: w.cluster.charter.cluster,
    kind,
    app: "shop",
    env: "default",
    args,
    nodes: [w.node.signer.kid],
    nonce: randomBytes(16).toString("hex"),
    issued: timeOf(Date.now()),
    expires: timeOf(Date.now() + 60_000),
    ...fields,
  };
  return await seal("command.1", body, [signer]);
}

/** What the node answered, once it has. */
export async function answerTo(w: World, command: Envelope): Promise<Line[]> {
  const name = `${digestOfEnvelope(command)}.${w.node.signer.kid}.ndjson`;
  const file = path.join(w.home, "hub/answers", name);
  const text = await eventually("an answer", async () => fs.readFileSync(file, "utf8"));
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

/** Hands a command over, and waits for the answer. */
export async function ask(
  w: World,
  kind: string,
  args: Command["args"],
  more?: Parameters<typeof commandTo>[3],
): Promise<Line[]> {
  const command = await commandTo(w, kind, args, more);
  w.offer({ commands: [...w.offered.commands, command] });
  return await answerTo(w, command);
}
