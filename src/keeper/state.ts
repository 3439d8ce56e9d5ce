import fs from "node:fs";
import path from "node:path";
import type { InstanceRecord } from "./instance.ts";
import type { SocketView } from "./protocol.ts";

/** What a later keeper must know, in `<run>/keeper.json`. It is about living processes: a reboot makes it void. */
export interface KeeperState {
  readonly boot: string;
  readonly pid: number;
  readonly startTime: string;
  readonly sockets: readonly SocketView[];
  readonly ports: readonly (readonly [string, number])[];
  readonly instances: readonly InstanceRecord[];
  readonly notes: Readonly<Record<string, string>>;
}

const fileOf = (run: string): string => path.join(run, "keeper.json");

/** Not flushed to the disk on purpose: it only has to outlive this process. */
export function saveState(run: string, state: KeeperState): void {
  const aside = `${fileOf(run)}.tmp`;
  fs.writeFileSync(aside, JSON.stringify(state), { mode: 0o600 });
  fs.renameSync(aside, fileOf(run));
}

export function readState(run: string): KeeperState | undefined {
  try {
    return JSON.parse(fs.readFileSync(fileOf(run), "utf8")) as KeeperState;
  } catch {
    return undefined;
  }
}
