/**
 * Two machines in one: this process and its children are the sender, in a network namespace of their own; what is
 * started with `within` is on the receivers' side of the only link between them. All of it ends with this process.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

const SENDER = "10.77.0.1";
const RECEIVERS = "10.77.0.2";

export interface Wire {
  /** The sender's address on the link. */
  readonly sender: string;
  /** Words before a command that is to run on the receivers' side. */
  readonly within: readonly string[];
  /** Bytes that crossed the link so far, both ways, frames whole. */
  bytes(): number;
  /** Bytes that left the sender. */
  sent(): number;
}

/** Words that start a command with namespaces of its own, which die with it. Needs root. */
export const UNSHARE = [
  "unshare",
  "--net",
  "--mount",
  "--pid",
  "--fork",
  "--kill-child",
  "--mount-proc",
] as const;

/** For a process that was started with UNSHARE. */
export async function layWire(): Promise<Wire> {
  ip("link", "set", "lo", "up");
  const holder = spawn("unshare", ["--net", "sleep", "infinity"], { stdio: "ignore" });
  const net = await namespaceOf(holder);
  ip("link", "add", "s0", "type", "veth", "peer", "name", "r0", "netns", net);
  up([], "s0", SENDER);
  const within = ["nsenter", `--net=${net}`];
  up(within, "r0", RECEIVERS);
  return {
    sender: SENDER,
    within,
    bytes: () => counters().received + counters().sent,
    sent: () => counters().sent,
  };
}

/** The sleeper's namespace, once it has one of its own. */
async function namespaceOf(holder: ChildProcess): Promise<string> {
  const net = `/proc/${holder.pid}/ns/net`;
  const own = fs.readlinkSync("/proc/self/ns/net");
  return await eventually("a second network namespace", () =>
    fs.readlinkSync(net) === own ? undefined : net,
  );
}

/** The queue holds back what does not fit through at once; without a pace, TCP takes late answers for lost segments. */
const CABLE = ["tbf", "rate", "1gbit", "burst", "64kb", "limit", "4mb"];

/**
 * What comes in goes through one processor's queue, given as its bit. With a queue for each, segments overtake each
 * other, and TCP sends again what it takes for lost: up to a twentieth of 4 MB in one run of four.
 */
const IN_ORDER = "mount -t sysfs sysfs /sys && echo 1 > /sys/class/net/$0/queues/rx-0/rps_cpus";

/** Segments as they would be on a cable: without this the kernel hands over up to 64 KiB as one frame. */
function up(within: readonly string[], name: string, address: string): void {
  const command = (...words: string[]): void => {
    const [program = "", ...args] = [...within, ...words];
    execFileSync(program, args);
  };
  command("ip", "link", "set", "lo", "up");
  command("ip", "address", "add", `${address}/24`, "dev", name);
  command("tc", "qdisc", "replace", "dev", name, "root", ...CABLE);
  // Words about IPv6 addresses that nobody here uses would be counted.
  command("ip", "link", "set", name, "addrgenmode", "none");
  command("ip", "link", "set", name, "up", "gso_max_segs", "1");
  // In a mount namespace of its own: it shows the links of who mounts it.
  command("unshare", "--mount", "sh", "-c", IN_ORDER, name);
}

function ip(...words: string[]): void {
  execFileSync("ip", words);
}

function counters(): { readonly received: number; readonly sent: number } {
  const line = /^\s*s0:\s*(.*)$/m.exec(fs.readFileSync("/proc/net/dev", "utf8"))?.[1] ?? "";
  const columns = line.split(/\s+/).map(Number);
  return { received: columns[0] ?? Number.NaN, sent: columns[8] ?? Number.NaN };
}
