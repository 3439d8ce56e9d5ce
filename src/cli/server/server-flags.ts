import type { LimitFlags, NearFlags } from "../command/traffic-flags.ts";

export interface HubFlags extends LimitFlags, Pick<NearFlags, "cacheSize"> {
  readonly listen?: string;
  readonly depot?: string;
  readonly print?: boolean;
  readonly charter?: string;
}

export interface UpFlags extends NearFlags {
  readonly listen?: string;
  readonly name?: string;
  readonly address?: string;
  readonly bind?: string;
}

export interface AgentFlags extends NearFlags {
  readonly join?: string;
  readonly name?: string;
  readonly address?: string;
  readonly bind?: string;
  /** False with `--no-keeper`. */
  readonly keeper?: boolean;
  readonly print?: boolean;
  readonly source?: string;
  readonly charter?: string;
}
