/** Flags of the verbs that do one thing through a hub and another with a bucket. */

export interface InitFlags {
  readonly name?: string;
  readonly hub?: string;
  readonly sshAgent?: boolean;
  readonly bucket?: string;
}

export interface DeployFlags {
  readonly from?: string;
  readonly version?: string;
  readonly keepOld?: boolean;
  readonly hooks: boolean;
  readonly attended?: boolean;
  readonly applyWithin?: string;
  readonly allAtOnce?: boolean;
  readonly batch?: string;
  readonly bake?: string;
  readonly follow?: boolean;
  readonly watch?: boolean;
}

export interface RollbackFlags {
  readonly to?: string;
  readonly attended?: boolean;
}

/** Of `stop`, `start` and `restart`. */
export interface StopFlags {
  readonly all?: boolean;
  readonly now?: boolean;
  readonly attended?: boolean;
}

export interface InviteFlags {
  readonly label?: readonly string[];
  readonly valid: string;
  readonly replace?: string;
}
