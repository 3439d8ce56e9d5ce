import type { ErrorCode } from "../../lib/errors/errors.ts";
import { asText, timeOf } from "../../trust/document/fields.ts";
import { HINT_CHARS, MESSAGE_CHARS, type Verdict } from "../../trust/document/documents.ts";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { lastLines } from "../programs/command.ts";
import type { AppContext } from "./app-context.ts";
import type { Answers } from "../plan/plan.ts";

export interface ReceiptInput {
  readonly app: string;
  readonly env: string;
  readonly order: Digest;
  readonly answers: Answers;
  readonly verdict: Verdict;
  readonly code: ErrorCode | null;
  readonly message: string | null;
  readonly hint?: string | undefined;
  readonly cut: number;
}

/** Signs what this node did with an order. */
export async function receiptOf(
  input: ReceiptInput,
  context: Pick<AppContext, "clock" | "signer" | "store">,
): Promise<Envelope> {
  const { signer, store, clock } = context;
  const { app, env, order, answers, verdict, code, hint, cut } = input;
  return await seal(
    "receipt.1",
    {
      cluster: store.state.charter.cluster,
      node: signer.kid,
      key: signer.pub,
      app,
      env,
      epoch: answers.epoch,
      seq: answers.seq,
      order,
      release: answers.release,
      verdict,
      code,
      message: input.message === null ? null : oneLine(input.message),
      ...(hint === undefined ? {} : { hint: asText(hint, HINT_CHARS) }),
      cut,
      at: timeOf(clock.now()),
    },
    [signer],
  );
}

/** The form of text that documents take: no control characters, bounded; its end is what tells most. */
function oneLine(text: string): string {
  const clean = asText(text, Infinity).trim();
  if (clean.length <= MESSAGE_CHARS) return clean;
  const head = clean.slice(0, 200);
  return `${head} … ${clean.slice(clean.length - (MESSAGE_CHARS - head.length - 3))}`;
}

/** An error as a receipt tells it: its message, then the last lines of what was run, or of the instance's log. */
export function failureText(message: string, data: Readonly<Record<string, unknown>>): string {
  const lines = lastLines(data);
  return lines.length === 0 ? message : `${message}: ${lines.join(" | ")}`;
}
