import { isSkeinError, messageOf, SkeinError, type ErrorCode } from "./errors.ts";

/** An error on its way between threads, where it would lose its class, its code and its path. */
export interface CarriedError {
  readonly message: string;
  /** Of a SkeinError. */
  readonly skein?: { readonly code: ErrorCode; readonly hint: string; readonly data: SkeinError["data"] };
  /** What the system says beside its message: `code`, `path`. */
  readonly system?: Readonly<Record<string, unknown>>;
}

export function carried(err: unknown): CarriedError {
  const message = messageOf(err);
  if (isSkeinError(err)) return { message, skein: { code: err.code, hint: err.hint, data: err.data } };
  return err instanceof Error ? { message, system: Object.fromEntries(Object.entries(err)) } : { message };
}

/** As it was thrown, but for its cause and its stack. */
export function arrived({ message, skein, system }: CarriedError): Error {
  if (skein === undefined) return Object.assign(new Error(message), system);
  return new SkeinError(skein.code, message, { hint: skein.hint, data: skein.data });
}
