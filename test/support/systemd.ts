/** A real systemd for tests, as root: PID 1 of namespaces of its own, over a root file system of its own. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";
import { ended, type Processes } from "./processes.ts";

const run = promisify(execFile);

const SYSTEMD = "/lib/systemd/systemd";
const SPACES = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child", "--propagation", "private"];
const PROBE = "mount -t tmpfs none /mnt && mount -t cgroup2 none /mnt";
/** Control groups outlive a test that is killed: the pid in their names says whose they are. */
const GROUP = "skein-systemd-";
/**
 * What systemd expects of whoever starts it as a container's. All that belongs to the machine as a whole is read-only:
 * it would raise limits of the kernel's, and look for devices. cgroup2 is mounted only in a namespace of its own, where
 * the options that the machine mounted it with stay as they are.
 */
const BOOT = `echo 0 > "$GROUP/cgroup.procs"
exec unshare --cgroup sh -ec "$BELOW" "$0" "$@"`;
const BELOW = `cd "$0"
mount --bind . .
cd "$0"
mount -t proc none proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro none sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
mount -t tmpfs -o mode=755 none dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 none dev/pts
mount -t tmpfs -o mode=1777 none dev/shm
for name in null zero full random urandom tty; do : > dev/$name; mount --bind /dev/$name dev/$name; done
for path do mkdir -p ".$path"; mount --bind "$path" ".$path"; mount -o remount,bind,ro ".$path"; done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
exec env -i container=skein ${SYSTEMD} --system --log-target=journal --show-status=no`;
/** What Debian starts on every machine; of it a journal is all that is needed here. */
const STARTED_BY = ["sysinit", "multi-user", "sockets", "timers", "local-fs", "graphical", "remote-fs"];
const NEEDED = /^systemd-journald(-dev-log)?\.(service|socket)$/;
const ETC = ["passwd", "group", "nsswitch.conf", "ld.so.cache", "hosts"];

/** For `skip` of a test. In CI nothing may be missing. */
export function noSystemd(file: string): string | false {
  if (process.env["CI"] !== undefined) return false;
  const hasSpaces = (): boolean =>
    spawnSync("unshare", [...SPACES, "--cgroup", "sh", "-c", PROBE]).status === 0;
  if (existsSync(SYSTEMD) && canGroup() && hasSpaces()) return false;
  return `needs root, cgroup2 and systemd: sudo apt-get install -y systemd; sudo npm test -- ${file}`;
}

function canGroup(): boolean {
  try {
    rmdirSync(mkdtempSync(path.join(groups(), GROUP)));
    return true;
  } catch {
    return false;
  }
}

/** Where the machine has cgroup2. */
function groups(): string {
  const [, dir] = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8")) ?? [];
  return dir ?? assert.fail("cgroup2 is not mounted");
}

export interface SystemdOptions {
  /** Everything of it lies there. */
  readonly dir: string;
  /** Paths of this machine that are seen inside, read-only, besides its programs. */
  readonly shows: readonly string[];
  readonly processes: Processes;
  readonly signal: AbortSignal;
}

/**
 * systemd with this machine's programs, and settings and data of its own, which a boot finds as the last one left them.
 * It shares the network and nothing else: no process, mount or control group of it is there after the disposal.
 */
export class Systemd implements AsyncDisposable {
  /** Its root file system, written to from outside as well. */
  readonly root: string;
  readonly #options: SystemdOptions;
  readonly #shows: readonly string[];
  readonly #group = path.join(groups(), `${GROUP}${process.pid}-${randomUUID().slice(0, 8)}`);
  #child: ChildProcess | undefined;
  #init = 0;

  static async make(options: SystemdOptions): Promise<Systemd> {
    await removeLeft();
    const machine = new Systemd(options);
    await machine.#install();
    return machine;
  }

  private constructor(options: SystemdOptions) {
    this.#options = options;
    this.root = path.join(options.dir, "root");
    const tops = ["/bin", "/sbin", "/lib", "/lib64"].filter((dir) => existsSync(dir) && !isLink(dir));
    this.#shows = ["/usr", ...tops, ...options.shows];
  }

  /** Boots it and waits until it has started everything. */
  async boot(): Promise<void> {
    const { dir, processes, signal } = this.#options;
    const env = { PATH, BELOW, GROUP: this.#group };
    await fs.mkdir(this.#group);
    const words = [...SPACES, "sh", "-ec", BOOT, this.root, ...this.#shows];
    this.#child = processes.start("unshare", words, { cwd: dir, env, log: path.join(dir, "systemd.log") });
    const pid = this.#child.pid ?? 0;
    this.#init = await eventually("it has a PID 1", () => initBelow(pid), { signal });
    const isUp = async (): Promise<boolean> =>
      (await this.run("systemctl", "is-system-running").catch(() => "")) === "running\n";
    await eventually("systemd is up", isUp, { everyMs: 50, signal });
  }

  /** Runs a command inside. @returns what it printed @throws when it fails */
  async run(...words: readonly string[]): Promise<string> {
    const into = [
      "-t",
      String(this.#init),
      "-m",
      "-u",
      "-i",
      "-p",
      "-C",
      "--root",
      "sh",
      "-c",
      IN_ROOT,
      "sh",
    ];
    const { signal } = this.#options;
    return (await run("nsenter", [...into, ...words], { env: { PATH }, signal })).stdout;
  }

  /** Pulls its plug: every process ends at once. */
  async powerOff(): Promise<void> {
    this.#child?.kill("SIGKILL"); // with it goes its PID 1, and with that all of them
    await this.#hasEnded();
  }

  /** Shuts it down as a person does. */
  async halt(): Promise<void> {
    await this.run("systemctl", "--no-block", "--no-wall", "poweroff");
    await this.#hasEnded();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.powerOff();
  }

  // Private

  async #hasEnded(): Promise<void> {
    if (this.#child === undefined) return;
    await ended(this.#child);
    this.#child = undefined;
    await eventually("its control groups are gone", async () => await removeGroup(this.#group));
  }

  async #install(): Promise<void> {
    const at = (file: string): string => path.join(this.root, file);
    const folders = [
      "etc/systemd/system",
      "proc",
      "sys",
      "dev",
      "run",
      "tmp",
      "mnt",
      "root",
      "var/log/journal",
    ];
    for (const dir of folders) await fs.mkdir(at(dir), { recursive: true });
    await fs.chmod(this.root, 0o755); // apps have users of their own
    for (const dir of ["bin", "sbin", "lib", "lib64"])
      if (isLink(`/${dir}`)) await fs.symlink(await fs.readlink(`/${dir}`), at(dir));
    for (const name of ETC) await fs.copyFile(`/etc/${name}`, at(`etc/${name}`));
    await fs.copyFile("/usr/lib/os-release", at("etc/os-release"));
    // Without an id it would be a first boot, which enables whatever there is.
    await fs.writeFile(at("etc/machine-id"), `${randomUUID().replaceAll("-", "")}\n`);
    await fs.symlink("/lib/systemd/system/multi-user.target", at("etc/systemd/system/default.target"));
    for (const target of STARTED_BY)
      await this.#mask("system", await namesIn(`/lib/systemd/system/${target}.target.wants`));
    await this.#mask("system-generators", await namesIn("/lib/systemd/system-generators")); // most of a boot's time
  }

  async #mask(folder: string, names: readonly string[]): Promise<void> {
    const dir = path.join(this.root, "etc/systemd", folder);
    await fs.mkdir(dir, { recursive: true });
    const unneeded = new Set(names).difference(new Set(await fs.readdir(dir)));
    for (const name of unneeded) if (!NEEDED.test(name)) await fs.symlink("/dev/null", path.join(dir, name));
  }
}

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const IN_ROOT = 'cd / && exec "$@"';

const namesIn = async (dir: string): Promise<readonly string[]> => await fs.readdir(dir).catch(() => []);

/** @throws where a process is in it */
async function removeGroup(group: string): Promise<true> {
  for (const entry of await fs.readdir(group, { withFileTypes: true }))
    if (entry.isDirectory()) await removeGroup(path.join(group, entry.name));
  await fs.rmdir(group);
  return true;
}

async function removeLeft(): Promise<void> {
  for (const name of await namesIn(groups())) {
    const [, pid] = /^skein-systemd-(\d+)-/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await removeGroup(path.join(groups(), name)).catch(() => undefined);
  }
}

const isLink = (file: string): boolean =>
  lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true;

/** The one child of `unshare`, once it has become systemd. */
function initBelow(pid: number): number | undefined {
  const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8"));
  return readFileSync(`/proc/${child}/comm`, "utf8") === "systemd\n" ? child : undefined;
}
