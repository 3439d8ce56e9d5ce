import { execFile } from "node:child_process";
import { access, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { bootText, systemdUnits } from "../agent/units.ts";
import { SkeinError } from "../lib/errors.ts";
import { launcher, type Context, type Result } from "./context.ts";
import type { AgentFlags } from "./server-commands.ts";
import { NEAR_FLAGS } from "./traffic-flags.ts";

const run = promisify(execFile);
const UNITS = "/etc/systemd/system";

/** Writes the units and starts them; without systemd, or with `--print`, shows what to do instead. */
export async function install(context: Context, flags: AgentFlags): Promise<Result> {
  const home = process.env["SKEIN_HOME"];
  const options = {
    skein: launcher(),
    ...(home === undefined || home === "" ? {} : { home: path.resolve(home) }),
    ...(flags.source === undefined ? {} : { environmentFile: "/etc/skein/agent.env" }),
    agentArgs: agentArgs(flags),
  };
  const units = systemdUnits(options);
  if (flags.print === true) {
    for (const unit of units) context.io.print(`# ${path.join(UNITS, unit.file)}\n${unit.text}`);
    context.io.print(bootText(options).trimEnd());
    return { units };
  }
  if (!(await hasSystemd())) {
    throw new SkeinError("USAGE", "there is no systemd on this machine", {
      hint: "skein agent install --print shows the line for boot.",
      data: { lines: bootText(options).trimEnd().split("\n") },
    });
  }
  if (process.getuid?.() !== 0) {
    throw new SkeinError("NOT_AUTHORISED", "units are written by root", {
      hint: `sudo ${launcher()} agent install`,
    });
  }
  for (const unit of units) await writeFile(path.join(UNITS, unit.file), unit.text);
  await run("systemctl", ["daemon-reload"]);
  await run("systemctl", ["enable", "--now", ...units.map(({ file }) => file)]);
  context.io.print(`installed and started ${units.map(({ file }) => file).join(" and ")}`);
  return { units: units.map(({ file }) => file) };
}

/** The ticket is used once; after that the unit's `--join` is passed over. */
function agentArgs(flags: AgentFlags): string[] {
  const { join, name, address, bind, source, charter } = flags;
  const near = Object.entries(NEAR_FLAGS).map(([key, flag]) => [flag, flags[key as keyof typeof NEAR_FLAGS]]);
  const given = {
    join,
    name,
    address,
    bind,
    source,
    charter,
    ...(Object.fromEntries(near) as Record<string, string | undefined>),
  };
  return Object.entries(given).flatMap(([flag, value]) => (value === undefined ? [] : [`--${flag}`, value]));
}

async function hasSystemd(): Promise<boolean> {
  return await access("/run/systemd/system").then(
    () => true,
    () => false,
  );
}
