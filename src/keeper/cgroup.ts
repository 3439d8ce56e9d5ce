import fs from "node:fs";
import path from "node:path";
import type { LimitsSpec } from "./protocol.ts";

const ROOT = "/sys/fs/cgroup";
const CPU_PERIOD_US = 100_000;

export interface Cage {
  /** Folders whose `cgroup.procs` the process writes itself into before it becomes the app. */
  readonly folders: readonly string[];
  /** Limits that could not be set, by the manifest's names. */
  readonly unenforced: readonly string[];
}

type Setting = readonly [file: string, value: string];

/** Makes the control groups (v2 where it has the controllers, else v1) that hold an instance to its limits. */
export function makeCage(key: string, limits: LimitsSpec): Cage {
  const wanted = {
    memory: limits.memoryBytes,
    cpu: limits.cpu,
    pids: limits.pids,
  };
  const folders: string[] = [];
  const unenforced: string[] = [];
  for (const [controller, value] of Object.entries(wanted)) {
    if (value === null) continue;
    const folder = cageFor(controller, value, safeName(key));
    if (folder === undefined) unenforced.push(controller);
    else folders.push(folder);
  }
  return { folders: [...new Set(folders)], unenforced };
}

/** Removes what `makeCage` made; a group that still has processes stays. */
export function removeCage(folders: readonly string[]): void {
  for (const folder of folders) {
    try {
      fs.rmdirSync(folder);
    } catch {
      // still in use, or gone with a reboot
    }
  }
}

function cageFor(controller: string, value: number, name: string): string | undefined {
  const unified = ["", "unified"].map((dir) => path.join(ROOT, dir)).find((dir) => offers(dir, controller));
  try {
    if (unified !== undefined) {
      return set(path.join(unified, "skein", name), v2Settings(controller, value), () =>
        delegate(unified, controller),
      );
    }
    const v1 = path.join(ROOT, controller);
    if (!fs.existsSync(path.join(v1, "cgroup.procs"))) return undefined;
    return set(path.join(v1, "skein", name), v1Settings(controller, value), () => undefined);
  } catch {
    return undefined;
  }
}

function offers(dir: string, controller: string): boolean {
  try {
    return fs.readFileSync(path.join(dir, "cgroup.controllers"), "utf8").split(/\s+/).includes(controller);
  } catch {
    return false;
  }
}

function delegate(root: string, controller: string): void {
  for (const dir of [root, path.join(root, "skein")]) {
    fs.mkdirSync(dir, { recursive: true });
    fs.writeFileSync(path.join(dir, "cgroup.subtree_control"), `+${controller}`);
  }
}

function set(folder: string, settings: readonly Setting[], prepare: () => void): string {
  prepare();
  fs.mkdirSync(folder, { recursive: true });
  for (const [file, value] of settings) fs.writeFileSync(path.join(folder, file), value);
  return folder;
}

function v2Settings(controller: string, value: number): Setting[] {
  if (controller === "cpu") return [["cpu.max", `${quota(value)} ${CPU_PERIOD_US}`]];
  return [[`${controller}.max`, String(value)]];
}

function v1Settings(controller: string, value: number): Setting[] {
  if (controller === "memory") return [["memory.limit_in_bytes", String(value)]];
  if (controller === "pids") return [["pids.max", String(value)]];
  return [
    ["cpu.cfs_period_us", String(CPU_PERIOD_US)],
    ["cpu.cfs_quota_us", String(quota(value))],
  ];
}

const quota = (cores: number): number => Math.max(1000, Math.round(cores * CPU_PERIOD_US));

const safeName = (key: string): string => key.replaceAll(/[^A-Za-z0-9._-]/g, "_");
