import { ERROR_CODES, type ErrorCode } from "./error-codes.ts";

export type { ErrorCode } from "./error-codes.ts";

/** What is known beside the message. Everything is optional; absent means "does not apply". */
export interface ErrorDetails {
  /** One sentence that says what to do next; printed after the message. Overrides the code's own mend. */
  readonly hint?: string;
  /** Where it happened: `node`, `stage`, `file`, `line`, `column`, `app` ... Printed and sent as JSON. */
  readonly data?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** Every failure a user can meet. The code is API: scripts match it, docs list it, it never changes. */
export class SkeinError extends Error {
  override readonly name = "SkeinError";
  readonly code: ErrorCode;
  readonly hint: string;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.hint = details.hint ?? ERROR_CODES[code].mend;
    this.data = details.data ?? {};
  }

  /** The exit code that a command ending with this error has (docs/how-to/ci.md: 1, 2, 4, 5, 6, 7 or 8). */
  get exit(): number {
    return ERROR_CODES[this.code].exit;
  }

  /** Wherever it stands in a result: else its message, alone of all, would not. */
  toJSON(): WireError {
    return toWire(this);
  }
}

/** What to do next, where that is more than what the code says by itself. */
export const ownHint = ({ code, hint }: SkeinError): string | undefined =>
  hint === ERROR_CODES[code].mend ? undefined : hint;

/** Is `err` a SkeinError with one of `codes` (any code when none is given)? */
export function isSkeinError(err: unknown, ...codes: ErrorCode[]): err is SkeinError {
  return err instanceof SkeinError && (codes.length === 0 || codes.includes(err.code));
}

/** Any failure as one with a code; what nobody foresaw is a defect. */
export function toSkeinError(err: unknown): SkeinError {
  if (err instanceof SkeinError) return err;
  return refusedFile(err) ?? new SkeinError("INTERNAL", messageOf(err), { cause: err });
}

const FULL: readonly string[] = ["ENOSPC", "EDQUOT"];
/** What to do where the system lets this user not at a path. */
export const OTHER_USER = "Run it as a user who may use that path, or name another.";
const FORBIDDEN: readonly string[] = ["EACCES", "EPERM", "EROFS"];
/** Said of disks alone, also where a read or write of an open file names none. */
const OF_A_DISK: readonly string[] = [...FULL, "EIO", "EROFS", "EUCLEAN"];

/** What the system refused about a file is told by its path; it is no defect. */
function refusedFile(err: unknown): SkeinError | undefined {
  const errno = errnoOf(err);
  if (errno === undefined || !(err instanceof Error)) return undefined;
  if (!("path" in err)) {
    if (!OF_A_DISK.includes(errno)) return undefined;
    const code = FULL.includes(errno) ? "DISK_FULL" : "IO";
    return new SkeinError(code, messageOf(err), { cause: err, data: { errno } });
  }
  return new SkeinError(FULL.includes(errno) ? "DISK_FULL" : "IO", messageOf(err), {
    ...(FORBIDDEN.includes(errno) ? { hint: OTHER_USER } : {}),
    cause: err,
    data: { path: err.path, errno },
  });
}

/** The text of anything thrown. */
export function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

/** The `code` of a Node system error (`ENOENT` and the like), or undefined. */
export function errnoOf(err: unknown): string | undefined {
  if (!(err instanceof Error) || !("code" in err)) return undefined;
  return typeof err.code === "string" ? err.code : undefined;
}

/** The form in which an error crosses a process: stable keys, no stack. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

export function toWire(err: unknown): WireError {
  const { code, message, hint, data } = toSkeinError(err);
  return { code, message, hint, data };
}

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(ERROR_CODES, text);

export function fromWire(wire: WireError): SkeinError {
  const code = isErrorCode(wire.code) ? wire.code : "INTERNAL";
  return new SkeinError(code, wire.message, {
    ...(wire.hint === undefined ? {} : { hint: wire.hint }),
    ...(wire.data === undefined ? {} : { data: wire.data }),
  });
}
