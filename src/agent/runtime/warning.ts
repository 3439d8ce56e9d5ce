import type { ErrorCode } from "../../lib/errors/error-codes.ts";

/** Something the user should hear although nothing failed. */
export interface Warning {
  readonly code: ErrorCode;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}
