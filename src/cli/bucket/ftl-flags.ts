import type { PlaceFlags } from "../command/has-bucket.ts";
import type { NearFlags } from "../command/traffic-flags.ts";

export interface MasterFlags extends PlaceFlags {
  readonly master?: boolean;
  readonly again?: boolean;
  readonly spread?: string;
}

export interface SpoolFlags extends PlaceFlags {
  readonly layout: string;
}

export const DEFAULT_WAIT = "5m";

export interface SyncFlags extends PlaceFlags, NearFlags {
  readonly every?: string;
  readonly wait: string;
  readonly print?: boolean;
  readonly maxAge?: string;
}
