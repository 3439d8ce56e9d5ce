import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";

const ALTERED =
  "Nothing was changed, and nodes refuse it as well. Look at the hub's machine, or at who writes the bucket: what is kept there was altered.";

/**
 * Reads what a hub or a bucket shows as signed. Where it does not hold, somebody altered what is kept there: the hint
 * that its code has is for who signs, and nobody here did. But of a document from the future it may be this clock.
 * @param what as a person would say it: `an order of shop/default`
 * @throws SkeinError what `read` throws, told as that
 */
export function shown<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (err) {
    if (!isSkeinError(err)) throw err;
    const isOfClock = err.code === "DOC_FROM_FUTURE";
    throw new SkeinError(err.code, `${what} is shown that does not hold: ${err.message}`, {
      hint: isOfClock ? err.hint : ALTERED,
      data: err.data,
      cause: err,
    });
  }
}
