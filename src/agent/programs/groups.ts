import { randomBytes } from "node:crypto";
import fs from "node:fs/promises";
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf } from "../../lib/errors/errors.ts";
import { killGroup } from "./command.ts";

const MARK = "SKEIN_RUN";
const GONE_EVERY_MS = 10;
const GONE_LOOKS = 500;

/** One running hook or verification, written down so that an agent that died with it can end it later. */
export interface Group extends AsyncDisposable {
  /** Goes into the command's environment: proves later that a process group is really this one. */
  readonly mark: Readonly<Record<string, string>>;
  readonly started: (pgid: number) => void;
}

export interface Groups {
  open(name: string): Promise<Group>;
  /** Ends what a dead agent left running, and waits for its end; returns how many groups there were. */
  sweep(): Promise<number>;
}

/** Files `<name>.<nonce>.pgid` under `dir`. They need no fsync: a power cut ends the processes as well. */
export function processGroups(dir: string): Groups {
  return {
    async open(name) {
      await fs.mkdir(dir, { recursive: true, mode: 0o700 });
      const nonce = randomBytes(8).toString("hex");
      const file = path.join(dir, `${name}.${nonce}.pgid`);
      return {
        mark: { [MARK]: nonce },
        started(pgid) {
          // Synchronous: between the spawn and this line no other code of the agent can run.
          writeFileSync(file, String(pgid));
        },
        async [Symbol.asyncDispose]() {
          rmSync(file, { force: true });
          return Promise.resolve();
        },
      };
    },
    async sweep() {
      let ended = 0;
      for (const name of await fs.readdir(dir).catch(() => [])) {
        const file = path.join(dir, name);
        const pgid = Number(await fs.readFile(file, "utf8"));
        const nonce = name.split(".").at(-2) ?? "";
        if (pgid > 1 && (await isMarked(pgid, nonce))) {
          killGroup(pgid);
          ended += 1;
          await untilGone(pgid, nonce);
        }
        await fs.rm(file, { force: true });
      }
      return ended;
    },
  };
}

/** Whoever takes up its work must not meet it; a disk that hangs may keep it longer than anything waits. */
async function untilGone(pgid: number, nonce: string): Promise<void> {
  for (let n = 0; n < GONE_LOOKS && (await isMarked(pgid, nonce)); n++) await sleep(GONE_EVERY_MS);
}

/** Whether a process of that group carries the mark; a recycled number does not. */
async function isMarked(pgid: number, nonce: string): Promise<boolean> {
  const pids = (await fs.readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    try {
      const stat = await fs.readFile(`/proc/${pid}/stat`, "utf8");
      const group = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2];
      if (group !== String(pgid)) continue;
      const environment = await fs.readFile(`/proc/${pid}/environ`, "utf8");
      if (environment.split("\0").includes(`${MARK}=${nonce}`)) return true;
    } catch (err) {
      if (errnoOf(err) === undefined) throw err; // else it ended, or is not ours to read
    }
  }
  return false;
}
