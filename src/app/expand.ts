import { isGlob } from "../source/globs.ts";
import type { Strategy } from "../trust/document/documents.ts";
import { DEFAULTS } from "./defaults.ts";
import { expandProcess, isHttp, type Report } from "./expand-process.ts";
import {
  HOOK_NAMES,
  type Build,
  type Command,
  type Hook,
  type Keep,
  type HookName,
  type Manifest,
  type Process,
  type Verify,
} from "./manifest.ts";
import { invalid } from "./problem.ts";
import type { ManifestInput, ProcessInput } from "./schema.ts";
import { suggest } from "./suggest.ts";
import { expandUses } from "./uses.ts";

/** What the place of a manifest says where the manifest itself does not. */
export interface Surroundings {
  /** The folder's or repository's name, or the app that a release was signed for. */
  readonly app: string;
}

/** Spells out a manifest of the right shape; what does not fit together is reported. Pure. */
export function expand(input: ManifestInput, around: Surroundings, report: Report): Manifest {
  const processes = expandProcesses(input, report);
  const kind = input.kind ?? (Object.keys(processes).length > 0 ? "service" : "files");
  checkKind(kind, input, processes, report);
  checkAfter(processes, report);
  checkPorts(processes, input.run === undefined ? undefined : "web", report);
  const app = input.app ?? around.app;
  return {
    skein: 1,
    app,
    kind,
    build: expandBuild(input.build, report),
    version: input.version === undefined ? null : commandOf(input.version),
    processes,
    uses: expandUses(input.uses, { app, processes }, report),
    verify: expandVerify(input.verify),
    user: input.user ?? DEFAULTS.user,
    writable: input.writable ?? [],
    env: input.env ?? {},
    hooks: expandHooks(input.hooks),
    strategy: expandStrategy(input.strategy),
    beside: input.beside ?? DEFAULTS.beside,
    targets: input.targets ?? null,
    keep: expandKeep(input.keep),
    stageOnPush: input.stage_on_push ?? null,
  };
}

const isCommand = (value: object): value is Command => "argv" in value || "sh" in value;

const commandOf = (value: Command | { readonly run: Command }): Command =>
  isCommand(value) ? value : value.run;

function expandProcesses(input: ManifestInput, report: Report): Record<string, Process> {
  const processes: Record<string, Process> = {};
  for (const [name, value] of Object.entries(input.processes ?? {})) {
    const full: ProcessInput = isCommand(value) ? { run: value } : value;
    processes[name] = expandProcess(full, ["processes", name], input.health, report);
  }
  if (input.run !== undefined) {
    if (input.processes !== undefined) report(invalid(["run"], "write either run or processes", true));
    const web: ProcessInput = {
      run: input.run,
      ...(input.listen === undefined ? {} : { listen: input.listen }),
    };
    const health = input.health === undefined ? {} : { health: input.health };
    processes["web"] = expandProcess({ ...web, ...health }, [], undefined, report);
  } else if (input.listen !== undefined) {
    report(invalid(["listen"], "listen at the top goes with run; write it under its process", true));
  }
  return processes;
}

function checkKind(
  kind: string,
  input: ManifestInput,
  processes: Readonly<Record<string, Process>>,
  report: Report,
): void {
  const some = Object.keys(processes).length > 0;
  if (kind === "files" && some)
    report(invalid(["kind"], "kind: files runs nothing: leave out run and processes"));
  if (kind === "service" && !some) {
    report(invalid(["kind"], "nothing says what to run: write run: COMMAND, or kind: files"));
  }
  if (input.health === undefined || input.run !== undefined) return;
  const web = Object.values(processes).some(({ listen }) => Object.values(listen).some(isHttp));
  if (!web) report(invalid(["health"], "no process has an HTTP socket that this could check", true));
}

function checkAfter(processes: Readonly<Record<string, Process>>, report: Report): void {
  const groups = groupsOf(processes);
  for (const [name, process] of Object.entries(processes)) {
    for (const [i, other] of process.after.entries()) {
      const path = ["processes", name, "after", i];
      if (!Object.hasOwn(processes, other)) {
        const near = suggest(other, Object.keys(processes));
        const hint = near === undefined ? "" : `: did you mean ${near}?`;
        report(invalid(path, `there is no process ${other}${hint}`));
      } else if (groups.get(other) === groups.get(name)) {
        report(invalid(path, `${name} and ${other} wait for each other`));
      }
    }
  }
}

type Graph = ReadonlyMap<string, readonly string[]>;

/**
 * Process → its group, of those that wait for each other, directly or through others. In two walks (Kosaraju's): a
 * manifest is anybody's text, and asking for each pair takes minutes where there are hundreds.
 */
function groupsOf(processes: Readonly<Record<string, Process>>): ReadonlyMap<string, number> {
  const after = new Map(
    Object.entries(processes).map(([name, process]) => [
      name,
      process.after.filter((other) => Object.hasOwn(processes, other)),
    ]),
  );
  const before = new Map([...after.keys()].map((name): [string, string[]] => [name, []]));
  for (const [name, others] of after) for (const other of others) before.get(other)?.push(name);
  const left: string[] = [];
  const seen = new Set<string>();
  for (const name of after.keys()) walk(after, name, seen, (done) => left.push(done));
  const groups = new Map<string, number>();
  const grouped = new Set<string>();
  for (const [group, name] of left.toReversed().entries())
    walk(before, name, grouped, (done) => groups.set(done, group));
  return groups;
}

/** Everything that `from` leads to and that was not seen yet, each after what it leads to. */
function walk(graph: Graph, from: string, seen: Set<string>, leave: (name: string) => void): void {
  const path = seen.has(from) ? [] : [{ name: from, next: 0 }];
  seen.add(from);
  for (let here = path.at(-1); here !== undefined; here = path.at(-1)) {
    const other = graph.get(here.name)?.[here.next++];
    if (other === undefined) {
      leave(here.name);
      path.pop();
    } else if (!seen.has(other)) {
      seen.add(other);
      path.push({ name: other, next: 0 });
    }
  }
}

/** @param short the process whose keys stand at the top */
function checkPorts(
  processes: Readonly<Record<string, Process>>,
  short: string | undefined,
  report: Report,
): void {
  const owners = new Map<string, string>();
  for (const [name, process] of Object.entries(processes)) {
    for (const [socket, { port, protocol }] of Object.entries(process.listen)) {
      if (port === null) continue;
      const key = `${protocol === "udp" ? "udp" : "tcp"} ${port}`;
      const owner = owners.get(key);
      const me = `${name}.${socket}`;
      if (owner === undefined) owners.set(key, me);
      else {
        const at = name === short ? [] : ["processes", name];
        report(invalid([...at, "listen", socket], `port ${port} is ${owner}'s already`));
      }
    }
  }
}

function expandBuild(input: ManifestInput["build"], report: Report): Build {
  const full = typeof input === "string" ? { run: input } : (input ?? {});
  for (const [i, glob] of (full.files ?? []).entries())
    if (!isGlob(glob)) report(invalid(["build", "files", i], `a range in ${glob} runs backwards`));
  return {
    run: full.run ?? null,
    test: full.test ?? null,
    files: full.files ?? null,
    on: "local",
    withinMs: full.within ?? DEFAULTS.build.withinMs,
  };
}

function expandVerify(input: ManifestInput["verify"]): Verify | null {
  if (input === undefined) return null;
  const full = isCommand(input) ? { run: input } : input;
  return {
    run: full.run,
    withinMs: full.within ?? DEFAULTS.verify.withinMs,
    threshold: full.threshold ?? null,
  };
}

function expandHooks(input: ManifestInput["hooks"]): Manifest["hooks"] {
  const hooks: Partial<Record<HookName, Hook>> = {};
  for (const name of HOOK_NAMES) {
    const value = input?.[name];
    if (value === undefined) continue;
    const full = typeof value === "string" ? { run: value } : value;
    hooks[name] = { sh: full.run, withinMs: full.within ?? DEFAULTS.hook.withinMs };
  }
  return hooks;
}

function expandStrategy(input: ManifestInput["strategy"]): Strategy {
  const given = {
    type: input?.type,
    batch: input?.batch,
    maxUnavailable: input?.max_unavailable,
    maxAbsent: input?.max_absent,
    maxFailed: input?.max_failed,
    bakeMs: input?.bake,
    onFailure: input?.on_failure,
    spreadMs: input?.spread,
  };
  const said = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS.strategy, steps: [], ...Object.fromEntries(said) };
}

function expandKeep(input: ManifestInput["keep"]): Keep {
  return {
    releases: input?.releases ?? DEFAULTS.keep.releases,
    good: input?.good ?? DEFAULTS.keep.good,
    freeDisk: input?.free_disk ?? DEFAULTS.keep.freeDisk,
  };
}
