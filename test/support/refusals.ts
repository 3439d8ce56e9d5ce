import assert from "node:assert/strict";
import type { Cluster, RunOptions } from "./cluster.ts";
import type { Result } from "./run.ts";

/** What the result event of a command that failed says. */
export interface Refusal {
  readonly message: string;
  readonly hint: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface ResultEvent {
  readonly type: string;
  readonly ok: boolean;
  readonly exit?: number;
  readonly error?: Refusal & { readonly code: string };
}

/** Every line of `--json` is an event, and the last one the result. */
export function resultEvent({ stdout }: Result): ResultEvent {
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as ResultEvent);
  const last = events.at(-1);
  assert.ok(last);
  assert.equal(last.type, "result", stdout);
  return last;
}

/** Runs a command that must fail with this exit code and this code. */
export async function refused(
  cluster: Cluster,
  [exit, code]: readonly [exit: number, code: string],
  args: readonly string[],
  options: RunOptions = {},
): Promise<Refusal> {
  const result = await cluster.skein(["--json", ...args], options);
  const told = `skein ${args.join(" ")} ended with ${result.code}:\n${result.stdout}\n${result.stderr}`;
  const { ok, exit: said, error } = resultEvent(result);
  assert.ok(error, told);
  assert.deepEqual([result.code, said, ok, error.code], [exit, exit, false, code], told);
  assert.notEqual(error.message, "", told);
  assert.notEqual(error.hint, "", told);
  return error;
}

/** The same for a person: what, next and code stand on stderr, and nothing on stdout. */
export async function refusedInWords(
  cluster: Cluster,
  [exit, code]: readonly [exit: number, code: string],
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const result = await cluster.skein(args, options);
  const told = `skein ${args.join(" ")} ended with ${result.code}:\n${result.stdout}\n${result.stderr}`;
  assert.equal(result.code, exit, told);
  assert.match(result.stderr, /^error .+$/m, told);
  assert.match(result.stderr, /^ {2}next {3}.+$/m, told);
  assert.match(result.stderr, new RegExp(`^  code   ${code}( |$)`, "m"), told);
  return result.stderr;
}
