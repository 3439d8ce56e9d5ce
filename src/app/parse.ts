import { LineCounter, parseDocument, type Document, type ErrorCode } from "yaml";
import { messageOf, SkeinError } from "../lib/errors/errors.ts";
import { reportUnworkable } from "./cannot-work.ts";
import { expand } from "./expand.ts";
import { explain } from "./explain.ts";
import { isMap } from "./is-map.ts";
import { findLater } from "./later-keys.ts";
import type { Manifest } from "./manifest.ts";
import { isExtra, layEnvironment, overlay, shortPath, withoutExtras } from "./overlay.ts";
import { invalid, pathText, type KeyPath, type Problem } from "./problem.ts";
import { fileSchema, manifestSchema } from "./schema.ts";
import { suggest } from "./suggest.ts";
import { keepNumbersAsWritten, notPlainIn } from "./plain-yaml.ts";
import { appName } from "./words.ts";
import { placeOf } from "./yaml-place.ts";

export interface ParseOptions {
  /** Shown in messages. */
  readonly file: string;
  /** Environment whose overlay is laid on; `default` may be absent from the file. */
  readonly env: string;
  /** The app's name where the file does not give one. */
  readonly app: string;
  /** Taken where the file says neither `run` nor `processes` nor `kind`: what the tree suggests. */
  readonly convention?: Readonly<Record<string, unknown>>;
  /** A release of it is yet to be made: what could not work is refused, too. Default false. */
  readonly isNew?: boolean;
}

/** Why a manifest was refused: one entry per problem, in `data.problems` of the error. */
export interface PlacedProblem {
  readonly code: Problem["code"];
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** `processes.web.listen` */
  readonly key: string;
  readonly message: string;
}

/** Reading takes time that grows with the square of how many keys a map has: 0.3 s for one of so many bytes. */
const MAX_BYTES = 64 * 1024;
/** Problems that are told; of more, how many. */
const MOST_TOLD = 100;

/**
 * The manifest that a text says, fully expanded, as one environment sees it. All environments are checked.
 * @throws SkeinError MANIFEST_INVALID or MANIFEST_LATER with every problem found (the first hundred), each with its line
 * and column
 */
export function parseManifest(text: string, options: ParseOptions): Manifest {
  if (Buffer.byteLength(text) > MAX_BYTES) {
    throw new SkeinError("MANIFEST_INVALID", `${options.file} is larger than ${MAX_BYTES / 1024} KiB`);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { version: "1.2", lineCounter: lines, merge: false });
  const about = { file: options.file, app: nameIn(document, options.app) };
  refuseBrokenYaml(document, lines, { ...about, text });
  const { manifest, problems } = read(plain(document, about), options);
  if (problems.length > 0) {
    const told = problems.slice(0, MOST_TOLD);
    const placed = told.map((problem) => place(document, lines, problem, options.file));
    throw refusalOf(about, placed, problems.length - told.length);
  }
  if (manifest === undefined) throw new SkeinError("INTERNAL", "a manifest without problems did not expand");
  return manifest;
}

/** What a refusal tells besides its problems. */
interface About {
  readonly file: string;
  /** The app that it is about, as far as that is beyond doubt. */
  readonly app: string | undefined;
}

/** The app that a manifest's text names, whatever else is right in it; undefined where nobody can tell. */
export function appIn(text: string, fallback: string): string | undefined {
  if (Buffer.byteLength(text) > MAX_BYTES) return undefined;
  return nameIn(parseDocument(text, { version: "1.2", merge: false }), fallback);
}

function nameIn(document: Document, fallback: string): string | undefined {
  const said: unknown = document.get("app");
  if (said === undefined) return document.errors.length === 0 ? fallback : undefined;
  return appName.safeParse(said).data;
}

/** Aliases that lead nowhere, or to too much, come to light only here. */
function plain(document: Document, about: About): unknown {
  try {
    const data: unknown = document.toJS({ maxAliasCount: 100 });
    keepNumbersAsWritten(document, data);
    return data;
  } catch (err) {
    const { file } = about;
    throw refusalOf(about, [
      { code: "MANIFEST_INVALID", file, line: 1, column: 1, key: "", message: messageOf(err) },
    ]);
  }
}

interface Reading {
  readonly manifest: Manifest | undefined;
  readonly problems: readonly Problem[];
}

/** Pure: from plain data to the manifest of one environment, or what is wrong in any of them. */
function read(data: unknown, options: ParseOptions): Reading {
  const raw = withoutExtras(data ?? {});
  if (!isMap(raw))
    return { manifest: undefined, problems: [invalid([], "write keys, for example app: shop")] };
  const { environments, ...base } = raw;
  const crowded = tooMany("environments", environments);
  if (crowded.length > 0) return { manifest: undefined, problems: crowded };
  const shape = fileSchema
    .pick({ environments: true })
    .safeParse({ environments: environments ?? {} }, REPORT);
  const named = isMap(environments) && shape.success ? environments : {};
  const problems = [...(shape.success ? [] : explain(shape.error.issues)), ...unknownEnv(named, options.env)];
  const ground = view(base, options);
  problems.push(...ground.problems);
  if (options.isNew === true) problems.push(...passedOver(data, options.env));
  let manifest = ground.manifest;
  for (const [name, over] of Object.entries(named)) {
    const seen = view(layEnvironment(base, withoutForbidden(over)), options);
    if (name === options.env) manifest = seen.manifest;
    problems.push(...forbidden(name, over), ...ofOverlay(seen.problems, name, over, ground.problems));
  }
  return { manifest, problems };
}

/** Each environment is read with all processes. */
const MOST = { environments: 64, processes: 256 } as const;

function tooMany(key: keyof typeof MOST, named: unknown): Problem[] {
  const isMore = isMap(named) && Object.keys(named).length > MOST[key];
  return isMore ? [invalid([key], `write at most ${MOST[key]} of them`, true)] : [];
}

const REPORT = { reportInput: true } as const;

function view(raw: unknown, options: ParseOptions): Reading {
  const crowded = isMap(raw) ? tooMany("processes", raw["processes"]) : [];
  if (crowded.length > 0) return { manifest: undefined, problems: crowded };
  const later = findLater(raw);
  const covered = new Set(later.map(({ path }) => pathText(path)));
  const parsed = manifestSchema.safeParse(withConvention(raw, options), REPORT);
  if (!parsed.success) {
    const other = explain(parsed.error.issues).filter(({ path }) => !covered.has(pathText(path)));
    return { manifest: undefined, problems: [...later, ...other] };
  }
  const problems = [...later];
  const report = (problem: Problem): void => void problems.push(problem);
  const manifest = expand(parsed.data, { app: options.app }, report);
  if (options.isNew === true)
    reportUnworkable(manifest, parsed.data.run === undefined ? undefined : "web", report);
  return { manifest, problems };
}

/** `run`, `processes` and `kind: files` each say what runs; where none does, the tree's own signs count. */
function withConvention(raw: unknown, { convention }: ParseOptions): unknown {
  if (convention === undefined || !isMap(raw)) return raw;
  const { run, listen, ...rest } = convention;
  const says = "run" in raw || "processes" in raw || raw["kind"] === "files";
  const found = overlay(rest, raw);
  if (says || run === undefined || !isMap(found)) return found;
  return { run, ...("listen" in raw || listen === undefined ? {} : { listen }), ...found };
}

function unknownEnv(named: Readonly<Record<string, unknown>>, env: string): Problem[] {
  if (env === "default" || Object.hasOwn(named, env) || Object.keys(named).length === 0) return [];
  const near = suggest(env, Object.keys(named));
  const hint = near === undefined ? `, only ${Object.keys(named).join(", ")}` : `: did you mean ${near}?`;
  return [invalid(["environments"], `there is no environment ${env}${hint}`, true)];
}

/** Who asks for it means what stands there, and not what others are to pass over. */
function passedOver(data: unknown, env: string): Problem[] {
  const named = isMap(data) ? data["environments"] : undefined;
  if (!isExtra(env) || !isMap(named) || !Object.hasOwn(named, env)) return [];
  const message = "keys that begin with x- are passed over: give the environment another name";
  return [invalid(["environments", env], message, true)];
}

export const NOT_OVERLAID: readonly string[] = ["app", "kind", "skein", "environments"];

function forbidden(name: string, over: unknown): Problem[] {
  if (!isMap(over)) return [];
  return NOT_OVERLAID.filter((key) => Object.hasOwn(over, key)).map((key) =>
    invalid(["environments", name, key], `${key} is the same in every environment`, true),
  );
}

/** They are told of as such, and by nothing else that they would lead to. */
const withoutForbidden = (over: unknown): unknown =>
  isMap(over)
    ? Object.fromEntries(Object.entries(over).filter(([key]) => !NOT_OVERLAID.includes(key)))
    : over;

/** The problems that an overlay brings, at their place in it where they are there. */
function ofOverlay(
  problems: readonly Problem[],
  name: string,
  over: unknown,
  ground: readonly Problem[],
): Problem[] {
  const known = new Set(ground.map(({ path, message }) => `${pathText(path)} ${message}`));
  const isKnown = (path: KeyPath, message: string): boolean => known.has(`${pathText(path)} ${message}`);
  return problems
    .filter(({ path, message }) => !isKnown(path, message) && !isKnown(shortPath(path) ?? path, message))
    .map((problem) => {
      const at = [problem.path, shortPath(problem.path) ?? problem.path].find((path) => has(over, path));
      if (at !== undefined) return { ...problem, path: ["environments", name, ...at] };
      const message = `${pathText(problem.path)}: ${problem.message}`;
      return { ...problem, path: ["environments", name], message };
    });
}

function has(value: unknown, path: KeyPath): boolean {
  let here = value;
  for (const part of path) {
    if (Array.isArray(here) && typeof part === "number") here = here[part];
    else if (isMap(here) && Object.hasOwn(here, part)) here = here[part];
    else return false;
  }
  return true;
}

function refuseBrokenYaml(
  document: Document,
  lines: LineCounter,
  { text, ...about }: About & { readonly text: string },
): void {
  const broken = document.errors.map(({ pos: [offset], code, message }) => {
    const said = (message.split("\n")[0] ?? "").replace(/ at line \d+, column \d+:?$/, "");
    return { offset, message: PLAINER[code] ?? said };
  });
  const found = broken.length > 0 ? broken : notPlainIn(document, text);
  if (found.length === 0) return;
  const problems = found.slice(0, MOST_TOLD).map(({ offset, message }): PlacedProblem => {
    const { line, col: column } = lines.linePos(offset);
    return { code: "MANIFEST_INVALID", file: about.file, line, column, key: "", message };
  });
  throw refusalOf(about, problems, found.length - problems.length);
}

/** What the parser says to programmers, in words for those who write a manifest. */
const PLAINER: Readonly<Partial<Record<ErrorCode, string>>> = {
  MULTIPLE_DOCS: "a manifest is one document: leave out what follows this ---",
  RESOURCE_EXHAUSTION: "it is nested too deep",
};

function place(document: Document, lines: LineCounter, problem: Problem, file: string): PlacedProblem {
  const { line, column } = placeOf(document, lines, problem.path, problem.atKey);
  return { code: problem.code, file, line, column, key: pathText(problem.path), message: problem.message };
}

function refusalOf({ app, file: name }: About, found: readonly PlacedProblem[], more = 0): SkeinError {
  const problems = found.toSorted((a, b) => a.line - b.line || a.column - b.column);
  const code = problems.some((problem) => problem.code === "MANIFEST_INVALID")
    ? "MANIFEST_INVALID"
    : "MANIFEST_LATER";
  const text = problems.map(({ file, line, column, key, message }) => {
    const at = `${file}:${line}:${column}`;
    return key === "" ? `${at}: ${message}` : `${at}: ${key}: ${message}`;
  });
  if (more > 0) text.push(`${name}: and ${more} more problems`);
  const [first] = problems;
  return new SkeinError(code, text.join("\n"), {
    data: { file: first?.file, line: first?.line, column: first?.column, app, problems },
  });
}
