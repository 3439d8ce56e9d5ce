import { type ChildProcess, execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { type Processes } from "../support/processes.ts";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

/** A person without rights on each of them. */
export const USER = "ada";
const NETWORK = "10.99.0";
/** What a machine changes for itself alone, and what it has none of; the rest is this one's. */
const OWN = ["etc", "var", "run"] as const;
const EMPTY = ["root", "home"] as const;
const ENTER = ["-m", "-n", "-u", "-p"] as const;

export interface Ran {
  readonly code: number;
  /** What it printed to both, in the order in which it came. */
  readonly output: string;
}

export interface MachinesOptions {
  /** Names that the first one has besides its own. */
  readonly alias: string;
  readonly dir: string;
  /** Put before the PATH of everything that runs there. */
  readonly bin: string;
  readonly processes: Processes;
  readonly signal: AbortSignal;
}

/** Machines with a network between them, and none to the world: namespaces of this one, with layers over its folders. */
export async function startMachines<Name extends string>(
  names: readonly Name[],
  options: MachinesOptions,
): Promise<Readonly<Record<Name, Machine>>> {
  const { dir, processes, signal, alias } = options;
  const start = (words: readonly string[], name: string): ChildProcess =>
    processes.start("unshare", words, { cwd: dir, env: process.env, log: path.join(dir, `${name}.log`) });
  const cable = start(["-n", "sleep", "infinity"], "switch").pid ?? 0;
  const inSwitch = async (...words: string[]): Promise<void> =>
    await done("nsenter", ["-t", String(cable), "-n", "ip", ...words], signal);
  await eventually("there is a switch", async () => {
    await inSwitch("link", "add", "br0", "type", "bridge");
    return true;
  });
  await inSwitch("link", "set", "br0", "up");
  const made: [Name, Machine][] = [];
  for (const [n, name] of names.entries()) {
    const address = `${NETWORK}.${n + 1}`;
    const own = path.join(dir, "machines", name);
    await fs.mkdir(own, { recursive: true });
    const spaces = ["-m", "-n", "-u", "-p", "-f", "--kill-child", "--propagation", "private", "--mount-proc"];
    const child = start([...spaces, "sh", "-ec", bootScript(name, own, alias)], name);
    const pid = await eventually(`${name} is up`, async () => {
      const [found = ""] = (await fs.readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")).split(
        " ",
      );
      const text = await fs.readFile(`/proc/${found}/cmdline`, "utf8");
      return text.startsWith("sleep") ? Number(found) : undefined;
    });
    await inSwitch("link", "add", `to-${n}`, "type", "veth", "peer", "name", "eth0", "netns", String(pid));
    await inSwitch("link", "set", `to-${n}`, "master", "br0", "up");
    const net = `ip addr add ${address}/24 dev eth0 && ip link set eth0 up && ip link set lo up`;
    await done("nsenter", ["-t", String(pid), "-n", "sh", "-c", net], signal);
    made.push([name, new Machine(name, pid, address, options)]);
  }
  return Object.fromEntries(made) as Record<Name, Machine>;
}

const bootScript = (name: string, own: string, alias: string): string => `
  hostname ${name}
  mount -t tmpfs -o mode=755 none ${own}
  for d in ${OWN.join(" ")}; do
    mkdir -p ${own}/$d/up ${own}/$d/work
    mount -t overlay overlay -o lowerdir=/$d,upperdir=${own}/$d/up,workdir=${own}/$d/work /$d
  done
  for d in ${EMPTY.join(" ")}; do mount -t tmpfs -o mode=755 none /$d; done
  printf '127.0.0.1 localhost\\n127.0.1.1 ${name}\\n${NETWORK}.1 ${alias}\\n' > /etc/hosts
  useradd -m -s /bin/sh ${USER}
  exec sleep infinity`;

export class Machine {
  readonly name: string;
  readonly address: string;
  readonly #pid: number;
  readonly #options: MachinesOptions;

  constructor(name: string, pid: number, address: string, options: MachinesOptions) {
    this.name = name;
    this.address = address;
    this.#pid = pid;
    this.#options = options;
  }

  /** Runs a line in a shell, in a folder of the user's home. */
  async run(line: string, { user = USER, folder = "." } = {}): Promise<Ran> {
    const { signal } = this.#options;
    return await new Promise((resolve) => {
      const words = this.#words(`${line} 2>&1`, user, folder);
      execFile("nsenter", words, { signal, maxBuffer: 2 ** 24 }, (err, stdout) => {
        resolve({ code: err === null ? 0 : typeof err.code === "number" ? err.code : 1, output: stdout });
      });
    });
  }

  /** The same with something that goes on running. @returns what it has printed when that is `ready` */
  async start(
    line: string,
    ready: (printed: string) => boolean,
    { user = USER, folder = "." } = {},
  ): Promise<string> {
    const { dir, processes, signal } = this.#options;
    const log = path.join(dir, `${this.name}.out`);
    processes.start("nsenter", this.#words(line, user, folder), { cwd: dir, env: process.env, log });
    const printed = async (): Promise<string> => await fs.readFile(log, "utf8");
    try {
      return await eventually(
        `${this.name}$ ${line}`,
        async () => (ready(await printed()) ? await printed() : undefined),
        { signal },
      );
    } catch (err) {
      throw new Error(`${this.name}$ ${line}\n${await printed()}`, { cause: err });
    }
  }

  /** A file in the user's home. */
  async write(file: string, text: string): Promise<void> {
    await fs.writeFile(path.join("/proc", String(this.#pid), "root/home", USER, file), text);
  }

  #words(line: string, user: string, folder: string): string[] {
    const home = user === "root" ? "/root" : `/home/${user}`;
    const env = [
      `HOME=${home}`,
      `USER=${user}`,
      `PATH=${this.#options.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin`,
    ];
    const as = ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--init-groups", "sh", "-c"];
    return ["-t", String(this.#pid), ...ENTER, "env", "-i", ...env, ...as, `cd "$HOME/${folder}" && ${line}`];
  }
}

async function done(command: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    execFile(command, args, { signal }, (err, _, stderr) =>
      err === null ? resolve() : reject(new Error(`${command} ${args.join(" ")}: ${stderr}`, { cause: err })),
    );
  });
}
