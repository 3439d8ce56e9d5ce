import fs from "node:fs";
import path from "node:path";
import type { Command, Listen } from "../../app/manifest.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { isNodeExecutable } from "./node-executable.ts";
import type { ProcessPlan } from "./release-plan.ts";

/**
 * How a process's sockets change hands.
 * `node`: held sockets, private first, attached by the preload. `socket`: held sockets, passed as descriptors.
 * `own`: each instance has its own ports, or none at all. `gap`: it binds a fixed port itself.
 */
export type Style = "node" | "socket" | "own" | "gap";

const NODE_PROGRAMS = new Set(["node", "nodejs", "npm", "npx", "yarn", "yarnpkg", "pnpm", "pnpx", "tsx"]);
const NODE_IN_SHELL =
  /(?:^|[;&|(]\s*|\bexec\s+)(?:\w+=\S*\s+)*(?:\S*\/)?(?:node|nodejs|npm|npx|yarn|pnpm|tsx)(?=\s|$)/;

/** @throws SkeinError HANDOVER_REFUSED when one process's sockets cannot go together */
export function styleOf(process: ProcessPlan, dir: string, canHold: boolean): Style {
  const styles = new Set(Object.values(process.listen).map((listen) => socketStyle(listen, process, dir)));
  if (styles.has("gap")) {
    only(styles, "gap", process);
    return "gap";
  }
  styles.delete("own");
  if (styles.size === 0) return "own";
  if (styles.size > 1) refuseMix(process);
  if (!canHold) {
    throw new SkeinError("HANDOVER_REFUSED", `${process.name}: this machine cannot hold sockets for an app`, {
      hint: "Use handover: port or gap.",
      data: { process: process.name, modes: ["port", "gap"] },
    });
  }
  return styles.has("node") ? "node" : "socket";
}

function socketStyle(listen: Listen, process: ProcessPlan, dir: string): Style {
  if (listen.handover === "port") return "own";
  if (listen.handover !== "auto") return listen.handover;
  if (listen.port === null && listen.path === null) return "own";
  return isNodeCommand(process.run, dir) ? "node" : "socket";
}

function only(styles: ReadonlySet<Style>, style: Style, process: ProcessPlan): void {
  for (const other of styles) if (other !== style && other !== "own") refuseMix(process);
}

function refuseMix(process: ProcessPlan): never {
  throw new SkeinError(
    "HANDOVER_REFUSED",
    `${process.name}: its sockets ask for hand-overs that exclude each other`,
    {
      hint: "Give all sockets of one process the same handover (port may stand beside any).",
      data: { process: process.name },
    },
  );
}

/** Is this Node, directly, through npm's scripts and the like, or with its program in one executable? */
export function isNodeCommand(command: Command, dir: string): boolean {
  if ("sh" in command) return NODE_IN_SHELL.test(command.sh);
  const [program = ""] = withoutEnv(command.argv);
  if (NODE_PROGRAMS.has(path.basename(program))) return true;
  const file = path.resolve(dir, program);
  return hasNodeShebang(file) || isNodeExecutable(file);
}

/** `env A=1 node x` is node. */
function withoutEnv(argv: readonly string[]): readonly string[] {
  if (path.basename(argv[0] ?? "") !== "env") return argv;
  return argv.slice(1 + argv.slice(1).findIndex((part) => !part.includes("=")));
}

function hasNodeShebang(file: string): boolean {
  try {
    const fd = fs.openSync(file, "r");
    const start = Buffer.alloc(80);
    fs.readSync(fd, start, 0, 80, 0);
    fs.closeSync(fd);
    return /^#!.*\bnode\b/.test(start.toString("latin1").split("\n")[0] ?? "");
  } catch {
    return false;
  }
}
