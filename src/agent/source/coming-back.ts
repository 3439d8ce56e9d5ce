import type { HubClient } from "../../api/hub-client.ts";
import type { ReturnPost } from "../../api/member-schemas.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";

/**
 * Asks a hub again that did not know who asked, after telling it: its store was set back to a time before this node
 * joined.
 * @param papers undefined: there is nothing to tell
 */
export function comingBack(
  client: Pick<HubClient, "call">,
  papers: () => ReturnPost | undefined,
): <T>(ask: () => Promise<T>) => Promise<T> {
  let telling: Promise<unknown> | undefined;
  return async (ask) => {
    try {
      return await ask();
    } catch (err) {
      const body = isSkeinError(err, "UNKNOWN_CLIENT") ? papers() : undefined;
      if (body === undefined) throw err;
      telling ??= client.call("comeBack", { body }).finally(() => (telling = undefined));
      await telling.catch((refusal: unknown) => {
        // An older hub takes nobody back.
        throw isSkeinError(refusal, "NOT_FOUND") ? err : refusal;
      });
    }
    return await ask();
  };
}
