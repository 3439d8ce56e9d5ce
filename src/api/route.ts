import * as z from "zod";

/** Who a caller can be. `anonymous` holds a key that nobody vouches for. */
export const ROLES = ["anonymous", "node", "operator"] as const;
export type Role = (typeof ROLES)[number];

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "HEAD" | "DELETE";
  /** With `:name` for parameters, `*` at the end for the rest. */
  readonly path: string;
  readonly summary: string;
  readonly roles: readonly Role[];
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly response?: z.ZodType;
  /** The shape of one line of an ndjson stream. */
  readonly lines?: z.ZodType;
  /** Bytes both or one way, handled on the raw request. */
  readonly raw?: true;
  /** It may be asked beside others in one request, `together`: it is answered at once, with JSON, and changes nothing. */
  readonly beside?: true;
  /** Longest body in bytes. Default 2 MiB. */
  readonly maxBody?: number;
}

export const EVERYBODY = ["anonymous", "node", "operator"] as const;
export const MEMBERS = ["node", "operator"] as const;
export const OPERATORS = ["operator"] as const;
export const NODES = ["node"] as const;
export const MIB = 2 ** 20;

export const count = (fallback: number, max: number): z.ZodDefault<z.ZodCoercedNumber> =>
  z.coerce.number().int().min(0).max(max).default(fallback);
