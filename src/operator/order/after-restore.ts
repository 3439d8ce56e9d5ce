import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { AppEnv } from "../../lib/text/ids.ts";
import type { Tell } from "../tell/events.ts";

/** An order was made from what the hub knew then; what it would have to say now only its command can find out anew. */
export function learnedMeanwhile({ app, env }: AppEnv, cause: SkeinError): SkeinError {
  return new SkeinError(
    "HEAD_MOVED",
    `the hub was restored from a backup, and learned of newer orders of ${app}/${env} from its agents meanwhile`,
    { hint: "Nothing was changed: type the same again.", data: { ...cause.data, learned: true }, cause },
  );
}

/**
 * Makes and publishes an order; where the hub learned meanwhile of orders from before it was restored, once more, after
 * these. Anybody else's newer order is a person's to look at, and so is a second time.
 */
export async function afterRestore<T>(tell: Tell, order: (isAgain: boolean) => Promise<T>): Promise<T> {
  try {
    return await order(false);
  } catch (err) {
    if (!isSkeinError(err, "HEAD_MOVED") || err.data["learned"] !== true) throw err;
    tell({ type: "note", text: `Ordering once more: ${err.message}.` });
    return await order(true);
  }
}
