import * as z from "zod";
import { isMap } from "./is-map.ts";
import { invalid, type KeyPath, type Problem } from "./problem.ts";
import { fileSchema } from "./schema.ts";
import { suggest } from "./suggest.ts";

type Issue = z.core.$ZodIssue;

/** The issues of a failed parse as people read them: one problem each, with what was probably meant. */
export function explain(issues: readonly Issue[], above: KeyPath = []): Problem[] {
  return issues.flatMap((issue) => explainOne(issue, [...above, ...keyPath(issue.path)]));
}

const keyPath = (path: readonly PropertyKey[]): KeyPath =>
  path.map((part) => (typeof part === "symbol" ? String(part) : part));

function explainOne(issue: Issue, path: KeyPath): Problem[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => invalid([...path, key], unknownKey(key, path), true));
  }
  if (issue.code === "invalid_union") return explainUnion(issue, path);
  if (issue.code === "invalid_key") {
    return [invalid(path, issue.issues[0]?.message ?? issue.message, true)];
  }
  if (isOwn(issue.message)) return [invalid(path, issue.message)];
  if (issue.code === "invalid_value") return [invalid(path, oneOf(issue.values.map(String), issue.input))];
  if (issue.code === "invalid_type") return [invalid(path, expected(issue.expected, issue.input))];
  return [invalid(path, bounds(issue))];
}

/** Zod's own wording starts like this; the schema's own sentences do not. */
const isOwn = (message: string): boolean => !/^(Invalid|Too|Expected|Unrecognized)/.test(message);

function bounds(issue: Issue): string {
  if (issue.code === "too_small") return `write at least ${issue.minimum}`;
  if (issue.code === "too_big") return `write at most ${issue.maximum}`;
  return issue.message;
}

/** Of several forms the one that was meant is that whose kind of value (text, map, list) is there. */
function explainUnion(issue: Extract<Issue, { code: "invalid_union" }>, path: KeyPath): Problem[] {
  const meant = issue.errors.filter((branch) => !branch.some(isOtherKind));
  const [nearest] = meant.toSorted((a, b) => a.length - b.length);
  if (nearest !== undefined) return explain(nearest, path);
  if (isOwn(issue.message)) return [invalid(path, issue.message)];
  const kinds = issue.errors.flatMap((branch) =>
    branch.flatMap((inner) => (inner.code === "invalid_type" ? [kindName(inner.expected)] : [])),
  );
  return [invalid(path, `write ${either([...new Set(kinds)])}, not ${describe(issue.input)}`)];
}

function isOtherKind(issue: Issue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === "invalid_union") return issue.errors.every((branch) => branch.some(isOtherKind));
  return issue.code === "invalid_type" || issue.code === "invalid_value";
}

function expected(kind: string, input: unknown): string {
  return input === undefined ? "is missing" : `write ${kindName(kind)}, not ${describe(input)}`;
}

const KINDS: Readonly<Record<string, string>> = {
  string: "text",
  object: "a map of keys",
  record: "a map of names",
  array: "a list",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
};

const kindName = (kind: string): string => KINDS[kind] ?? kind;

function describe(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (isMap(value)) return "a map";
  return JSON.stringify(value);
}

function oneOf(values: readonly string[], input: unknown): string {
  const near = typeof input === "string" ? suggest(input, values) : undefined;
  const hint = near === undefined ? "" : `: did you mean ${near}?`;
  return `write ${either(values)}, not ${describe(input)}${hint}`;
}

function either(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

function unknownKey(key: string, path: KeyPath): string {
  const near = suggest(key, keysAt(path));
  if (near !== undefined) return `there is no key ${key}: did you mean ${near}?`;
  const elsewhere = path.length === 0 && keysAt(["processes", "*"]).includes(key);
  return elsewhere
    ? `there is no key ${key} here: write it under processes, in the process it is for`
    : `there is no key ${key}${path.length === 0 ? "" : " here"}`;
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
}

let wholeSchema: JsonSchema | undefined;

/** The keys that the schema knows at a place. */
function keysAt(path: KeyPath): string[] {
  // Made once: a text may have thousands of unknown keys.
  let here: JsonSchema[] = [(wholeSchema ??= z.toJSONSchema(fileSchema, { io: "input" }) as JsonSchema)];
  for (const part of path) here = here.flatMap(branches).flatMap((schema) => below(schema, part));
  return here.flatMap(branches).flatMap(({ properties }) => Object.keys(properties ?? {}));
}

const branches = (schema: JsonSchema): JsonSchema[] => [schema, ...(schema.anyOf ?? []).flatMap(branches)];

function below(schema: JsonSchema, part: string | number): JsonSchema[] {
  const child =
    typeof part === "number" ? schema.items : (schema.properties?.[part] ?? schema.additionalProperties);
  return typeof child === "object" ? [child] : [];
}
