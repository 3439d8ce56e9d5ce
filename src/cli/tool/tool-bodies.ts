import path from "node:path";
import { stringify } from "yaml";
import { manifestWords } from "../../app/print.ts";
import { ask, nodesOf, troubleIn } from "../../operator/ask/ask.ts";
import { wordOf, type NamedLine } from "../../operator/ask/commands.ts";
import { isApp, openSource, readManifest, type Origin } from "../../operator/source/source.ts";
import type { Manifest } from "../../app/manifest.ts";
import { appHere } from "../command/app-here.ts";
import type { Context, Result } from "../command/context.ts";
import { TROUBLED_EXIT, troubleText } from "../command/trouble.ts";
import { gcWords, momentFlag, usage, type GcWords } from "../command/grammar.ts";

export async function validate(context: Context, where: string, full: boolean): Promise<Result> {
  if (/\.ya?ml$/i.test(where) && !/^\.?skein\.ya?ml$/i.test(path.basename(where)))
    throw usage(
      `${where} is no manifest: that is called skein.yaml`,
      "Give its folder: skein validate FOLDER",
    );
  const named = path.basename(where) === "skein.yaml" ? path.dirname(where) : where;
  const origin = { kind: "path", path: path.resolve(named) } as const;
  const manifest = await manifestAt(origin, context);
  const words = manifestWords(manifest);
  if (full) context.io.print(stringify(words, { lineWidth: 110 }).trimEnd());
  else context.io.print(`OK  ${manifest.app}: ${summary(Object.keys(manifest.processes))}`);
  if (!(await isApp(origin, context)))
    context.io.say(
      `note nothing in ${origin.path} says what to deploy: plain files are deployed with --from`,
    );
  return { manifest: words };
}

/** Of what would be released, as far as that can be said without a build. */
async function manifestAt(origin: Origin, { env, signal, paths, io }: Context): Promise<Manifest> {
  const manifest = await readManifest(origin, { env, signal });
  const { run, test, files } = manifest.build;
  if (run !== null || test !== null || (files === null && manifest.writable.length === 0)) return manifest;
  await using opened = await openSource(origin, { env, signal, paths, onLine: (line) => io.say(line) });
  if (opened.manifest.writable.length > 0) await opened.source.entries(signal);
  return opened.manifest;
}

const summary = (processes: readonly string[]): string =>
  processes.length === 0 ? "files, nothing runs" : `runs ${processes.join(", ")}`;

const GC_VALID_MS = 10 * 60_000;

interface GcFlags {
  readonly count?: string;
  readonly older?: string;
  readonly depot?: boolean;
  readonly damaged?: boolean;
  readonly bucket?: string;
}

function refuseDepotFlags({ damaged, bucket }: GcFlags): void {
  if (damaged === true) throw usage("a depot is searched for damage", "skein gc --depot --damaged");
  if (bucket !== undefined)
    throw usage("a bucket is collected as a depot", `skein gc --depot --bucket ${bucket}`);
}

/** What says which releases of which app may go from nodes says nothing of a depot. */
function refuseNodeFlags(words: readonly string[], { count, older }: GcFlags): void {
  if (words.length === 0 && count === undefined && older === undefined) return;
  throw usage(
    "a depot is collected as a whole: what no kept release needs goes",
    "skein gc --depot, without an app, count or age; skein gc APP --count 3 is for the nodes.",
  );
}

export async function gc(context: Context, words: readonly string[], flags: GcFlags): Promise<Result> {
  if (flags.depot === true) {
    refuseNodeFlags(words, flags);
    return await (await import("./gc-depot.ts")).gcDepot(context, flags);
  }
  refuseDepotFlags(flags);
  const said = gcWords(words, { ...flags, app: context.globals.app });
  const args = gcArgs(context, said);
  const operator = await context.operator();
  const app = await appHere(context, said.app);
  const selection = { app, env: context.env, selector: context.globals.on ?? null };
  const { nodes } = await nodesOf(operator, selection, context.signal);
  const wish = { kind: "gc", app, env: context.env, args, nodes, validMs: GC_VALID_MS };
  const removed: { node: string; release: string }[] = [];
  const troubles: NamedLine[] = [];
  const hear = (line: NamedLine): void => {
    if (line.type === "trouble") {
      troubles.push(line);
      context.io.say(troubleText(app, line));
    }
    if (line.type !== "removed") return;
    const release = wordOf(line, "release");
    removed.push({ node: line.name, release });
    context.io.print(
      `${line.name}  ${app}@${release.slice(0, 8)} ${context.globals.dryRun === true ? "would go" : "removed"}`,
    );
  };
  const trouble = troubleIn(await ask(operator, wish, context.signal, hear));
  if (trouble !== null) throw trouble;
  if (removed.length === 0) context.io.say("Nothing to remove.");
  return { app, removed, troubles, ...(troubles.length === 0 ? {} : { exit: TROUBLED_EXIT }) };
}

function gcArgs({ globals }: Context, { count, older }: GcWords): Record<string, number | boolean> {
  if (count !== null && !/^\d{1,4}$/.test(count))
    throw usage(`${count} is no number of releases`, "Write 0 to 9999: --count 3.");
  return {
    ...(count === null ? {} : { count: Number(count) }),
    ...(older === null ? {} : { before: momentFlag(older, Date.now()) }),
    ...(globals.dryRun === true ? { dry: true } : {}),
  };
}
