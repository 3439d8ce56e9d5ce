import { execFile } from "node:child_process";
import { access, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { absoluteAddress } from "../../bucket/bucket.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { launcher, type Context, type Result } from "../command/context.ts";
import { hostPort } from "../command/grammar.ts";
import { first } from "../command/has-bucket.ts";
import { nodeNameHere, refuseNodeName } from "../command/node-name.ts";
import { hubBucket } from "./server-bodies.ts";
import { pinTold } from "./pin-told.ts";
import { addresses } from "./places.ts";
import type { AgentFlags, HubFlags } from "./server-flags.ts";
import { limitsOf, NEAR_FLAGS, nearOf, type NearFlags } from "../command/traffic-flags.ts";
import { warningsOf } from "../terminal/warnings.ts";
import { bootText, homeIn, hubUnit, nodeUnits, type Unit, type UnitOptions } from "../units/units.ts";

const run = promisify(execFile);
const UNITS = "/etc/systemd/system";
/** How long a unit is watched after it was started, where it does not say that it serves. */
const TRIED_MS = 15_000;
const SERVES = /"msg":"(agent started|hub)"/;

/** The units of keeper and agent. */
export async function installNode(context: Context, given: AgentFlags): Promise<Result> {
  const flags = withVariables(fromAnywhere(printedIn(context, given)));
  // What a unit would fail with at boot is told now.
  nearOf(flags);
  pinTold(flags);
  refuseNodeName(flags.name);
  addresses(flags);
  const secrets = flags.source === undefined ? undefined : "/etc/skein/agent.env";
  const wish =
    flags.source === undefined ? [] : wordsOf({ app: context.globals.app, env: context.globals.env });
  const args = (of: AgentArgs): string[] => [...agentArgs(of), ...wish];
  const options = unitOptions(secrets, args(flags));
  // A ticket in a unit would be there for everybody to read, and one that is no good would fail there unseen.
  const joined = flags.print === true ? options : unitOptions(secrets, args({ ...flags, join: undefined }));
  const before = async (): Promise<void> => await joinFirst(context, flags);
  return await install(context, { program: "agent", options, units: nodeUnits(joined), before }, flags);
}

/** A unit is started in another folder. */
const fromAnywhere = (flags: AgentFlags): AgentFlags =>
  flags.source === undefined ? flags : { ...flags, source: absoluteAddress(flags.source) };

/** It does not have its installer's variables either. */
const withVariables = (flags: AgentFlags): AgentFlags => {
  const charter = flags.charter ?? first(process.env["SKEIN_CHARTER"]);
  return flags.source === undefined || charter === undefined ? flags : { ...flags, charter };
};

async function joinFirst(context: Context, flags: AgentFlags): Promise<void> {
  if (flags.join === undefined) return;
  const { paths, signal } = context;
  const log = warningsOf(context.io);
  using far =
    flags.source === undefined
      ? undefined
      : await (await import("./agent-source.ts")).bucketOptions(context, flags, log);
  const { joinNode } = await import("../../agent/node/open-node.ts");
  const name = flags.name ?? nodeNameHere();
  const { join } = flags;
  await joinNode({ paths, name, join, begin: far?.begin, clock: systemClock, log, signal });
}

/** The hub's unit; its key is made here, so that it can be told at once. */
export async function installHub(context: Context, given: HubFlags): Promise<Result> {
  const flags = printedIn(context, given);
  limitsOf(flags);
  hubBucket(flags);
  const port = flags.listen === undefined ? "PORT" : hostPort(flags.listen, "0.0.0.0").port;
  const secrets = flags.depot === undefined ? undefined : "/etc/skein/hub.env";
  const options = unitOptions(secrets, hubArgs(flags));
  const done = await install(context, { program: "hub", options, units: [hubUnit(options)] }, flags);
  if (flags.print === true) return done;
  const { hubHere } = await import("../../operator/server/hub-server.ts");
  const { spki } = await hubHere(context.paths, "");
  context.io.say(`its key is ${spki}; on your own machine: skein init --hub HOST:${port}#${spki}`);
  return { ...done, key: spki };
}

/** What a dry run says is what `--print` says. */
const printedIn = <F extends { readonly print?: boolean }>({ dryRun }: Context, flags: F): F =>
  dryRun === undefined ? flags : { ...flags, print: true };

function unitOptions(environmentFile: string | undefined, args: readonly string[]): UnitOptions {
  const home = process.env["SKEIN_HOME"];
  return {
    skein: launcher(),
    ...(home === undefined || home === "" ? {} : { home: path.resolve(home) }),
    ...(environmentFile === undefined ? {} : { environmentFile }),
    args,
  };
}

interface Installation {
  readonly program: "agent" | "hub";
  readonly options: UnitOptions;
  readonly units: readonly Unit[];
  /** Before anything is written. */
  readonly before?: () => Promise<void>;
}

/** Writes the units and starts them; with `--print`, shows them and what to do at boot instead. */
async function install(
  { io, signal }: Context,
  { program, options, units, before }: Installation,
  { print = false }: { readonly print?: boolean },
): Promise<Result> {
  const boot = bootText(program, options).trimEnd();
  if (print) {
    for (const unit of units) io.print(`# ${path.join(UNITS, unit.file)}\n${unit.text}`);
    io.print(boot);
    return { units };
  }
  await refuseInstall(program, boot);
  for (const unit of units) await refuseOtherHome(unit);
  await before?.();
  for (const unit of units) await writeFile(path.join(UNITS, unit.file), unit.text);
  const files = units.map(({ file }) => file);
  await systemctl("daemon-reload");
  await systemctl("enable", ...files);
  // One that ran already gets its new flags and program; instances do not notice. A keeper, which the agent's unit
  // wants, is started with it where there is none, and goes on as it is where there is.
  const [last = ""] = files.slice(-1);
  await systemctl("restart", last);
  await serves(last, signal);
  io.print(`installed and started ${files.join(" and ")}`);
  return { units: files };
}

/** @throws SkeinError USAGE without systemd, NOT_AUTHORISED without root */
async function refuseInstall(program: Installation["program"], boot: string): Promise<void> {
  if (!(await hasSystemd())) {
    throw new SkeinError("USAGE", "there is no systemd on this machine", {
      hint: `skein ${program} install --print shows the line for boot.`,
      data: { lines: boot.split("\n") },
    });
  }
  if (process.getuid?.() !== 0) {
    throw new SkeinError("NOT_AUTHORISED", "units are written by root", {
      hint: `sudo ${launcher()} ${program} install`,
    });
  }
}

/** What runs for another SKEIN_HOME would have no agent, hub or keeper from then on. @throws SkeinError UNIT_FAILED */
async function refuseOtherHome({ file, text }: Unit): Promise<void> {
  const there = await readFile(path.join(UNITS, file), "utf8").catch(() => "");
  const home = homeIn(there);
  if (there === "" || home === homeIn(text)) return;
  const whose = home === undefined ? "the system's folders" : `SKEIN_HOME=${home}`;
  throw new SkeinError("UNIT_FAILED", `${file} is there already, and is for ${whose}`, {
    hint: `Install it for the same, or remove it first: systemctl disable --now ${file}; rm ${path.join(UNITS, file)}`,
    data: { unit: file, home: home ?? null },
  });
}

/** @throws SkeinError UNIT_FAILED where systemd refuses it: a unit is masked, say */
async function systemctl(...words: readonly string[]): Promise<void> {
  try {
    await run("systemctl", words);
  } catch (err) {
    const { stderr } = err as { readonly stderr?: string };
    if (stderr === undefined) throw err;
    const said = stderr.trim();
    throw new SkeinError("UNIT_FAILED", `systemctl ${words.join(" ")}: ${said}`, {
      hint: "Mend that (systemctl unmask, where it is masked), and type this again.",
      data: { said },
      cause: err,
    });
  }
}

/** What cannot run (its port is taken, a node never joined) ends before it says that it serves. */
async function serves(unit: string, signal: AbortSignal): Promise<void> {
  const invocation = await show(unit, "InvocationID", signal);
  const until = performance.now() + TRIED_MS;
  while (performance.now() < until) {
    const state = await show(unit, "SubState", signal);
    const isSame = (await show(unit, "InvocationID", signal)) === invocation;
    if (state !== "running" || !isSame) throw await failed(unit, signal);
    if (SERVES.test(await journal([`_SYSTEMD_INVOCATION_ID=${invocation}`], signal))) return;
    await sleep(100, undefined, { signal });
  }
}

async function show(unit: string, property: string, signal: AbortSignal): Promise<string> {
  return (
    await run("systemctl", ["show", "--value", `--property=${property}`, unit], { signal })
  ).stdout.trim();
}

async function failed(unit: string, signal: AbortSignal): Promise<SkeinError> {
  const said = await journal(["--unit", unit, "--identifier", "skein", "--lines", "3"], signal);
  return new SkeinError("UNIT_FAILED", `${unit} is installed, and ends whenever it is started:\n${said}`, {
    hint: `systemd tries again every second: mend that, or install it again with other flags. journalctl -u ${unit} has it all.`,
    data: { unit, said },
  });
}

async function journal(words: readonly string[], signal: AbortSignal): Promise<string> {
  return (await run("journalctl", ["--output", "cat", "--no-pager", ...words], { signal })).stdout.trim();
}

type AgentArgs = Omit<AgentFlags, "join"> & { readonly join?: string | undefined };

function agentArgs(flags: AgentArgs): string[] {
  const { join, name, address, bind, source, charter } = flags;
  return [...wordsOf({ join, name, address, bind, source, charter }), ...nearArgs(flags)];
}

function hubArgs(flags: HubFlags): string[] {
  const { listen, charter, depot } = flags;
  const file = charter === undefined ? undefined : path.resolve(charter);
  return [...wordsOf({ listen, charter: file, depot }), ...nearArgs(flags)];
}

const nearArgs = (flags: NearFlags): string[] =>
  wordsOf(
    Object.fromEntries(
      Object.entries(NEAR_FLAGS).map(([key, flag]) => [flag, flags[key as keyof NearFlags]]),
    ),
  );

const wordsOf = (given: Readonly<Record<string, string | undefined>>): string[] =>
  Object.entries(given).flatMap(([flag, value]) => (value === undefined ? [] : [`--${flag}`, value]));

async function hasSystemd(): Promise<boolean> {
  return await access("/run/systemd/system").then(
    () => true,
    () => false,
  );
}
