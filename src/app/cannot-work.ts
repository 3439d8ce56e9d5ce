import { formatDuration } from "../lib/text/units.ts";
import { pathFault } from "../release/tree/tree-path.ts";
import type { Report } from "./expand-process.ts";
import type { Listen, Manifest, Process } from "./manifest.ts";
import { invalid, type KeyPath } from "./problem.ts";
import { addressVariable } from "./socket-variables.ts";

/** A process, its name, and where it stands in the file. */
interface Named extends Process {
  readonly name: string;
  readonly at: KeyPath;
}

/**
 * Reports what each part of a manifest may say, and the whole cannot do: a deployment would fail by it, or something
 * would be done that nobody asked for. For releases that are to be made: one that is there runs as it always did.
 * @param short the process whose keys stand at the top
 */
export function reportUnworkable(manifest: Manifest, short: string | undefined, report: Report): void {
  const processes = Object.entries(manifest.processes).map(([name, process]): Named => {
    return { ...process, name, at: name === short ? [] : ["processes", name] };
  });
  checkVariables(processes, report);
  checkUnixPaths(manifest.app, processes, report);
  checkWritable(manifest.writable, report);
  checkAmounts(manifest.strategy, report);
  for (const process of processes) {
    checkCommand(process, report);
    checkRestart(process, report);
    checkHandovers(process, report);
    checkReadiness(process, report);
  }
  const single = singleProcess(manifest);
  if (manifest.beside === 0 || single === undefined) return;
  report(invalid(["beside"], `${single}: leave out beside, or let its versions overlap`));
}

/** Which process may not run in two versions at once, and why, as a sentence. */
export function singleProcess({ processes }: Pick<Manifest, "processes">): string | undefined {
  for (const [name, { overlap, listen }] of Object.entries(processes)) {
    const isGap = Object.values(listen).some(({ handover }) => handover === "gap");
    const why = overlap ? (isGap ? "handover: gap" : undefined) : "overlap: false";
    if (why !== undefined) return `${name} may not run in two versions at once (${why})`;
  }
  return undefined;
}

interface Socket {
  readonly process: string;
  readonly socket: string;
}

/**
 * Sockets of one name in several processes share the short variable, which is the first one's: they are told apart by
 * the long one. Any others that share one would be taken for each other.
 */
function checkVariables(processes: readonly Named[], report: Report): void {
  const owners = new Map<string, Socket & { readonly isShort: boolean }>();
  for (const { name: process, at, listen } of processes) {
    for (const socket of Object.keys(listen)) {
      const names = [addressVariable(socket), addressVariable(socket, process)];
      const shared = names.flatMap((name, n) => {
        const owner = owners.get(name);
        if (owner === undefined) owners.set(name, { process, socket, isShort: n === 0 });
        const isSame = owner === undefined || (n === 0 && owner.isShort && owner.socket === socket);
        return isSame ? [] : [{ name, owner }];
      });
      const [first] = shared;
      if (first === undefined) continue;
      const other = `${first.owner.process}.${first.owner.socket}`;
      report(
        invalid(
          [...at, "listen", socket],
          `${process}.${socket} and ${other} would share the variable ${first.name}: rename one of them`,
          true,
        ),
      );
    }
  }
}

/** What the system takes as a unix socket's whole path, and where that begins on a node as it is installed. */
const UNIX_PATH_BYTES = 107;
const RUN_FOLDER = "/run/skein";

/** All of an app's unix sockets are in one folder. */
function checkUnixPaths(app: string, processes: readonly Named[], report: Report): void {
  const owners = new Map<string, string>();
  for (const { name, at, listen } of processes) {
    for (const [socket, { path }] of Object.entries(listen)) {
      if (path === null) continue;
      const most = UNIX_PATH_BYTES - `${RUN_FOLDER}/${app}/`.length;
      if (Buffer.byteLength(path) > most)
        report(
          invalid(
            [...at, "listen", socket, "path"],
            `write at most ${most} bytes: no socket's path is longer`,
          ),
        );
      const owner = owners.get(path);
      if (owner === undefined) owners.set(path, `${name}.${socket}`);
      else report(invalid([...at, "listen", socket, "path"], `${path} is ${owner}'s already`));
    }
  }
}

function checkWritable(writable: Manifest["writable"], report: Report): void {
  for (const [i, path] of writable.entries()) {
    const why = pathFault(path);
    if (why !== undefined) report(invalid(["writable", i], `no release has such a path: ${why}`));
  }
}

/** Of any number of nodes one at least goes at a time: a share that names none would be that one. */
function checkAmounts({ batch, maxUnavailable }: Manifest["strategy"], report: Report): void {
  for (const [key, amount] of Object.entries({ batch, max_unavailable: maxUnavailable }))
    if (isNone(amount))
      report(
        invalid(["strategy", key], `${amount} is no node: write a number of nodes, or a share such as 25%`),
      );
}

const isNone = (amount: number | string): boolean => Number.parseFloat(String(amount)) === 0;

/** No crash is within no time: it would be restarted for ever, with the shortest wait. */
function checkRestart({ at, restart }: Named, report: Report): void {
  if (restart.limitWithinMs > 0) return;
  report(
    invalid(
      [...at, "restart", "limit"],
      "nothing crashes within 0s: write how often in what time, for example 10 in 10m",
    ),
  );
}

/** What `auto` comes to depends on the program: a node finds out. */
function checkHandovers({ at, listen }: Named, report: Report): void {
  const sockets = Object.entries(listen).filter(([, { handover }]) => handover !== "port");
  for (const one of sockets) {
    const other = sockets.find((another) => excludeEachOther(one[1], another[1]));
    if (other === undefined) continue;
    const [mine, theirs] = [one, other].map(([name, { handover }]) => `${handover} of ${name}`);
    const how = "give all sockets of a process the same (port may stand beside any)";
    report(invalid([...at, "listen"], `handover ${mine} and ${theirs} exclude each other: ${how}`));
    return;
  }
}

function excludeEachOther(a: Listen, b: Listen): boolean {
  const both = [a.handover, b.handover];
  return a.handover !== b.handover && (both.includes("gap") || !both.includes("auto"));
}

function checkCommand({ at, run }: Named, report: Report): void {
  const text = "sh" in run ? run.sh : run.argv[0];
  if (text?.trim() === "") report(invalid([...at, "run"], "the command is empty"));
}

/** What can stand in the first line of a request. */
const SENDABLE = /^[!-~]+$/;

function checkReadiness({ at, ready, live, listen }: Named, report: Report): void {
  for (const [key, of] of Object.entries({ ready: ready.check, live: live?.check })) {
    if (of?.type !== "http" || SENDABLE.test(of.path)) continue;
    const hint = `write it as a request has it: ${encodeURI(of.path.trim())}`;
    report(
      invalid([...at, "health", key, "http"], `${JSON.stringify(of.path)} cannot be asked for: ${hint}`),
    );
  }
  const { check, everyMs, passes, withinMs, aliveMs } = ready;
  const [leastMs, what] =
    check !== null
      ? [(passes - 1) * everyMs, `${passes} passes, one every ${formatDuration(everyMs)}, take`]
      : [Object.keys(listen).length > 0 ? 0 : aliveMs, "without a check or a socket it takes"];
  if (leastMs < withinMs) return;
  const message = `it could never be ready within ${formatDuration(withinMs)}: ${what} ${formatDuration(leastMs)}`;
  report(invalid([...at, "health", "ready"], message));
}
