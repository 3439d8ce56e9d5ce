/** Disks that fail, for tests: real ext4 file systems on loop devices, as root. */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";
import { ended, Processes, processesIn, signalQuietly } from "./processes.ts";

const run = promisify(execFile);

const SIZE = "128M";
/** Its own commits come so seldom that only what was flushed on purpose is there after a power cut. */
const MOUNT = 'mount -o loop,commit=300,errors=remount-ro "$0" "$1"';
/** FS_IOC_SHUTDOWN without flushing the log: what was not written yet is lost, as by a power cut. */
const SHUTDOWN = `import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], 0), 0x8004587d, struct.pack("I", 2))`;
/** LOOP_SET_STATUS64 with another lo_sizelimit: what lies beyond it can be neither read nor written, and is not lost. */
const LIMIT = `import fcntl, os, struct, sys
device = os.open(sys.argv[1], os.O_RDWR)
status = bytearray(232)
fcntl.ioctl(device, 0x4C05, status)
struct.pack_into("Q", status, 32, int(sys.argv[2]))
fcntl.ioctl(device, 0x4C04, bytes(status))`;
/** What was read is forgotten, so that it is read anew. */
const FORGET = `import os, sys
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        try: file = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError: continue
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)`;
/** Tables and journal at its beginning: a journal that cannot be written turns the file system read-only. */
const FORMAT = ["-qF", "-b", "1024", "-N", "8192", "-E", "packed_meta_blocks=1", "-J", "size=4"];
/** The first group of blocks has these and most folders: names are still found while nothing that files hold is. */
const READABLE = 8193 * 1024;
/** Why a file cannot be written then; the second where its folder is beyond, and the system remembers it no more. */
export const UNREADABLE = String.raw`E(?:IO \(the disk failed\)|NOMEM)`;
/**
 * Not even SIGKILL ends what waits for a frozen file system: it thaws by itself should the test die before it does.
 * Whoever tidies up after a test finds what it started by names of folders, and this has none.
 */
const THAW = "sleep 120; fsfreeze -u /proc/self/fd/0";

/** For `skip` of a test. In CI nothing may be missing. */
export function noDisks(file: string): string | false {
  if (process.env["CI"] !== undefined) return false;
  if (spawnSync("unshare", ["-m", "sh", "-c", "mount -t tmpfs x /mnt && losetup -f"]).status === 0)
    return false;
  return `needs root and loop devices: sudo npm test -- ${file}`;
}

/**
 * A file system of its own for one home, in a mount namespace that ends with this: no mount and no loop device is left
 * behind, however a test ends.
 */
export class Disk implements AsyncDisposable {
  readonly #dir: string;
  readonly #image: string;
  /** What is really on it, where it lies. */
  readonly #truth: string;
  readonly #processes: Processes;
  #holder: ChildProcess | undefined;
  #home = "";

  static async make(): Promise<Disk> {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-disk-"));
    const disk = new Disk(dir);
    await run("truncate", ["-s", SIZE, disk.#image]);
    await run("mkfs.ext4", [...FORMAT, disk.#image]);
    return disk;
  }

  private constructor(dir: string) {
    this.#dir = dir;
    this.#image = path.join(dir, "disk.img");
    this.#truth = path.join(dir, "truth.img");
    this.#processes = new Processes(dir);
  }

  /** Mounts it at `home`. @returns the words before a command that is to see it there */
  async mountAt(home: string): Promise<readonly string[]> {
    this.#home = home;
    await fs.mkdir(home, { recursive: true });
    const log = path.join(this.#dir, "log");
    const line = `${MOUNT} && echo mounted && exec sleep infinity`;
    this.#holder = this.#processes.start("unshare", ["-m", "sh", "-c", line, this.#image, home], {
      cwd: this.#dir,
      env: process.env,
      log,
    });
    await eventually("the disk is mounted", async () => (await fs.readFile(log, "utf8")).includes("mounted"));
    await fs.chmod(this.root, 0o755); // apps have users of their own
    return this.#within;
  }

  /** What is in the home, seen from outside of the namespace. */
  get root(): string {
    return `/proc/${this.#holder?.pid}/root${this.#home}`;
  }

  at(...names: readonly string[]): string {
    return path.join(this.root, ...names);
  }

  /** The file system meets an error, as it would on a bad sector, and turns read-only. */
  async fail(): Promise<void> {
    await fs.writeFile(`/sys/fs/ext4/${path.basename(await this.#device())}/trigger_fs_error`, "1");
    await eventually("it is read-only", async () => await this.#isReadOnly());
  }

  /** Ends whoever works on it, and mounts it anew: as a machine that is started again. */
  async remount(between?: () => Promise<void>): Promise<void> {
    await this.#unmount();
    await between?.();
    await this.#run("sh", "-c", MOUNT, this.#image, this.#home);
    await fs.rm(this.at("run"), { recursive: true, force: true }); // a tmpfs on a real machine
  }

  /** From now on nothing that files hold can be read or written, until `mend`. */
  async loseReads(): Promise<void> {
    await this.#run("sync", "-f", this.#home);
    await this.#limit(READABLE);
    await run("python3", ["-c", FORGET, this.root]); // last: what is read meanwhile would be remembered again
  }

  async mend(): Promise<void> {
    await this.#limit(0);
  }

  /** Nothing can be written: whoever tries hangs until the disposal. */
  async freeze(): Promise<AsyncDisposable> {
    await using root = await fs.open(this.root);
    const env = { PATH: process.env["PATH"] };
    const stdio = [root.fd, "ignore", "ignore"] as const;
    const armed = spawn("sh", ["-c", THAW], { cwd: "/", env, detached: true, stdio: [...stdio] });
    const thaw = (): void => {
      spawnSync("nsenter", [...this.#words, "fsfreeze", "-u", this.#home]);
    };
    process.prependOnceListener("exit", thaw); // before others wait for those that hang
    await this.#run("fsfreeze", "-f", this.#home);
    return {
      [Symbol.asyncDispose]: async () => {
        process.removeListener("exit", thaw);
        thaw();
        if (armed.pid !== undefined) signalQuietly(-armed.pid, "SIGKILL");
        await ended(armed);
      },
    };
  }

  /** From now on the disk only says that what it was told to flush is on it: the next power cut takes all of that. */
  async lie(): Promise<void> {
    await using _still = await this.freeze();
    await run("cp", ["--sparse=always", this.#image, this.#truth]);
  }

  /** Ends everything that works on it, without another byte written, and mounts it anew. */
  async cutPower(): Promise<void> {
    await run("python3", ["-c", SHUTDOWN, this.root]);
    await this.remount(async () => {
      await fs.rename(this.#truth, this.#image).catch(() => undefined); // it had not lied
    });
  }

  /** As e2fsck may leave it: these names are gone. Whoever works on it is ended. */
  async lose(...names: readonly string[]): Promise<void> {
    await this.remount(async () => {
      for (const name of names) await run("debugfs", ["-w", "-R", `unlink ${name}`, this.#image]);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#processes[Symbol.asyncDispose]();
    await fs.rm(this.#dir, { recursive: true, force: true });
  }

  get #words(): readonly string[] {
    return ["-t", String(this.#holder?.pid), "-m", "--"];
  }

  get #within(): readonly string[] {
    return ["nsenter", ...this.#words];
  }

  async #run(command: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await run("nsenter", [...this.#words, command, ...args]);
    return stdout;
  }

  async #device(): Promise<string> {
    return (await this.#run("findmnt", "-no", "SOURCE", this.#home)).trim();
  }

  async #isReadOnly(): Promise<boolean> {
    return /^ro,|emergency_ro/.test(await this.#run("findmnt", "-no", "OPTIONS", this.#home));
  }

  async #limit(bytes: number): Promise<void> {
    await run("python3", ["-c", LIMIT, await this.#device(), String(bytes)]);
  }

  async #unmount(): Promise<void> {
    await eventually("nobody works on the disk", async () => {
      for (const { pid } of processesIn(this.#home)) signalQuietly(pid, "SIGKILL");
      await this.#run("umount", this.#home);
      return true;
    });
    const isFree = async (): Promise<boolean> => (await run("losetup", ["-j", this.#image])).stdout === "";
    await eventually("the disk is free", isFree);
  }
}
