import type { ErrorCode } from "../../lib/error-codes.ts";

/** Something the user should hear although nothing failed. */
export interface Warning {
  readonly code: ErrorCode;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}
