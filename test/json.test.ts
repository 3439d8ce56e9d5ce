/** What `--json` prints is an interface: each result has the fields that docs/how-to/ci.md lists, and no other. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { Command } from "commander";
import { cliProgram } from "../src/cli/cli-program.ts";
import { sharedS3Server } from "../src/depot/s3/s3-server.fixture.ts";
import { atEnd } from "../src/lib/testing/at-end.fixture.ts";
import { FAST, RUN, serverSource, writeSource } from "./support/apps.ts";
import { startCluster } from "./support/cluster.ts";
import { COMPILED, tested } from "./support/program.ts";
import { expectSuccess, runToEnd, type Result } from "./support/run.ts";

const server = sharedS3Server({ conditional: false });
const PAGE = path.resolve(import.meta.dirname, "../docs/how-to/ci.md");

const ORDERED = [
  "app",
  "away",
  "cut",
  "env",
  "failed",
  "hooks",
  "left",
  "nodes",
  "order",
  "release",
  "state",
];
const NODE = ["address", "apps", "labels", "lastSeen", "name", "node", "present", "version"];

interface Case {
  readonly args: readonly string[];
  /** As the page names it. */
  readonly command: string;
  readonly fields: readonly string[];
  /** Of the first of a list in the result, at least these. */
  readonly each?: readonly [list: string, fields: readonly string[]];
}

const CASES: readonly Case[] = [
  { args: ["version"], command: "version", fields: ["node", "version"] },
  { args: ["validate", "shop"], command: "validate", fields: ["manifest"] },
  {
    args: ["build", "shop"],
    command: "build",
    fields: ["already", "app", "commit", "release"],
  },
  { args: ["deploy", "--from", "shop", ...FAST], command: "deploy", fields: ORDERED },
  {
    args: ["cp", "shop"],
    command: "cp",
    fields: ["app", "env", "nodes", "release"],
    each: ["nodes", ["already", "bytesFetched", "code", "message", "node", "outcome", "sources"]],
  },
  { args: ["restart", "shop", "--dry-run"], command: "--dry-run", fields: ["dryRun", "would"] },
  { args: ["restart", "shop"], command: "restart", fields: ORDERED },
  { args: ["restart", "shop", "--detach"], command: "--detach", fields: ["app", "detached", "order"] },
  { args: ["watch", "shop"], command: "watch", fields: ["app", "order", "release"] },
  {
    args: ["status", "shop"],
    command: "status",
    fields: ["apps"],
    each: [
      "apps",
      ["app", "env", "held", "inForce", "issued", "nodes", "phase", "release", "state", "unsettled"],
    ],
  },
  { args: ["list"], command: "list", fields: ["apps", "nodes"] },
  { args: ["list", "shop"], command: "list APP", fields: ["releases"] },
  { args: ["list", "versions"], command: "list versions", fields: ["apps"] },
  { args: ["node", "ls"], command: "node ls", fields: ["nodes"], each: ["nodes", NODE] },
  { args: ["node", "show", "n1"], command: "node show", fields: ["node"] },
  { args: ["node", "label", "n1", "a=b"], command: "node label", fields: ["labels", "name", "node"] },
  {
    args: ["releases", "shop"],
    command: "releases",
    fields: ["releases"],
    each: ["releases", ["app", "bytes", "commit", "created", "files", "id", "nodes"]],
  },
  {
    args: ["ports", "shop"],
    command: "ports",
    fields: ["ports"],
    each: [
      "ports",
      ["app", "commit", "current", "env", "host", "instance", "node", "nodeName", "pid", "port"],
    ],
  },
  {
    args: ["check", "shop"],
    command: "check",
    fields: ["app", "running"],
    each: ["running", ["commit", "node", "present", "release", "version"]],
  },
  { args: ["verify", "shop"], command: "verify", fields: ["app", "nodes", "unverified"] },
  {
    args: ["drift", "shop"],
    command: "drift",
    fields: ["app", "nodes"],
    each: ["nodes", ["differs", "files", "filesDiffering", "node", "outcome"]],
  },
  {
    args: ["repair", "shop"],
    command: "repair",
    fields: ["app", "nodes"],
    each: ["nodes", ["code", "done", "message", "node", "outcome"]],
  },
  { args: ["gc", "shop"], command: "gc", fields: ["app", "removed", "troubles"] },
  { args: ["logs", "shop", "--lines", "1"], command: "logs", fields: ["app"] },
  { args: ["cache", "put", "shop"], command: "cache put", fields: ["name", "rows", "since", "tree"] },
  { args: ["cache", "ls"], command: "cache ls", fields: ["blobs", "bytes", "names"] },
  {
    args: ["cache", "diff", "shop"],
    command: "cache diff",
    fields: ["different", "extra", "missing", "name"],
  },
];

/** Its own verbs stand in the table of a bucket without their first word, where they are the front door's. */
const rowName = (words: string): string => words.replace(/^ftl (?!list|import)/, "");

test("every verb has a row on the page for scripts", () => {
  const page = fs.readFileSync(PAGE, "utf8");
  const program = cliProgram(() => undefined);
  const leaves = (command: Command, above: string): string[] =>
    command.commands.flatMap((one) => {
      const words = `${above} ${one.name()}`.trim();
      return one.commands.length === 0 ? [words] : leaves(one, words);
    });
  const verbs = leaves(program, "");
  assert.ok(verbs.length > 60);
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  const named = rows.map((row) => row.split(" | ")[0]).join("\n");
  const lacking = verbs.filter((verb) => !new RegExp(`\`${rowName(verb)}(\`| [A-Z-])`).test(named));
  assert.deepEqual(lacking, []);
});

/** What the page says of a command: the row that names it, and what it refers to. */
function rowOf(page: string, command: string): string {
  const rows = page.split("\n").filter((line) => line.startsWith("| ") && line.includes(`\`${command}\``));
  const row = rows.find((line) => line.split(" | ")[0]?.includes(`\`${command}\``));
  assert.ok(row, `${command} has no row`);
  return row;
}

test("every result has the fields that the page for scripts lists (long)", async (t) => {
  await using cluster = await startCluster({ signal: t.signal });
  await cluster.addNode("n1");
  await writeSource(cluster, "shop", {
    "skein.yaml": `app: shop\n${RUN}`,
    "server.js": serverSource("one"),
  });
  const cwd = path.join(cluster.dir, "src");
  const run = async (args: readonly string[]): Promise<Result> => await cluster.okIn(cwd, "--json", ...args);
  for (const one of CASES) await checked(one, run);

  await writeSource(cluster, "next", {
    "skein.yaml": `app: shop\n${RUN}strategy: { bake: 10m }\n`,
    "server.js": serverSource("two"),
  });
  const steered = ["app", "order", "release"];
  const detached = ["app", "detached", "order"];
  const cases: readonly Case[] = [
    { args: ["deploy", "--from", "next", "--detach"], command: "--detach", fields: detached },
    { args: ["pause", "shop"], command: "pause", fields: steered },
    { args: ["resume", "shop", "--detach"], command: "--detach", fields: detached },
    { args: ["abort", "shop"], command: "pause", fields: steered },
    // What was ordered last stays, and what was before that.
    { args: ["deploy", "--from", "shop", ...FAST], command: "deploy", fields: ORDERED },
    { args: ["restart", "shop"], command: "restart", fields: ORDERED },
  ];
  for (const one of cases) await checked(one, run);
  const { releases } = await checked(
    { args: ["releases", "shop"], command: "releases", fields: ["releases"] },
    run,
  );
  const other = (releases as { id: string; nodes: unknown[] }[]).find(({ nodes }) => nodes.length === 0);
  const removed = await checked(
    {
      args: ["purge", "shop", other?.id ?? ""],
      command: "purge APP VERSION",
      fields: ["app", "release", "removed", "troubles"],
    },
    run,
  );
  assert.deepEqual(removed["removed"], ["n1"]);
});

test("what FTL's verbs and presign tell programs has the fields that the page for scripts lists (long)", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  fs.chmodSync(dir, 0o755);
  const root = path.join(dir, "root");
  fs.mkdirSync(path.join(root, "site"), { recursive: true });
  fs.writeFileSync(path.join(dir, "site.txt"), "one");
  const s3 = await server();
  const bucket = await s3.makeBucket();
  const env = {
    ...COMPILED,
    ...s3.env,
    PATH: process.env["PATH"],
    SKEIN_HOME: dir,
    SKEIN_BUCKET: `s3://${bucket}`,
    FTL_ROOT: root,
  };
  const { command, args } = tested;
  const run = async (words: readonly string[]): Promise<Result> => {
    const ended = await runToEnd(command, [...args, "--json", ...words], { cwd: dir, env, signal: t.signal });
    return expectSuccess(words.join(" "), ended);
  };
  await run(["init"]);
  const spool: Case = {
    args: ["ftl", "spool", "site.txt"],
    command: "spool",
    fields: ["already", "package", "release", "revision"],
  };
  const word = ({ revision }: Record<string, unknown>): string => `site.${String(revision)}`;
  const first = word(await checked(spool, run));
  const ordered = ["app", "package", "release", "revision", "seq", "spreadMs"];
  const here = ["active", "held", "package"];
  const order = async (name: string): Promise<unknown> =>
    await checked({ args: ["jump", "--master", name], command: "jump --master", fields: ordered }, run);
  await order(first);
  await checked({ args: ["ftl", "sync", "--wait", "0s"], command: "sync", fields: ["packages"] }, run);
  fs.writeFileSync(path.join(dir, "site.txt"), "two");
  const second = word(await checked(spool, run));
  await checked({ args: ["ftl", "sync"], command: "sync", fields: ["packages"] }, run);
  const cases: readonly Case[] = [
    { args: ["ftl", "jump", second], command: "jump", fields: here },
    { args: ["ftl", "jump-back", "site"], command: "jump-back", fields: here },
    { args: ["ftl", "list"], command: "ftl list", fields: ["packages"] },
    { args: ["ftl", "list", "site"], command: "ftl list", fields: ["package", "revisions"] },
    { args: ["list", "--master", "site"], command: "list --master", fields: ["package", "revisions"] },
    { args: ["release", "presign"], command: "release presign", fields: ["expires", "file", "objects"] },
    { args: ["purge", "--master", second], command: "purge --master", fields: ["package", "revision"] },
  ];
  for (const one of cases) await checked(one, run);
});

/** The result of a command that ended well: on stdout alone, with the fields that are meant, which the page names. */
async function checked(
  { args, command, fields, each }: Case,
  run: (args: readonly string[]) => Promise<Result>,
): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await run(args);
  assert.equal(stderr, "", command);
  const events = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const { type, ok, ...result } = events.at(-1) ?? {};
  assert.deepEqual([type, ok], ["result", true], command);
  assert.deepEqual(Object.keys(result).toSorted(), fields, command);
  const row = rowOf(fs.readFileSync(PAGE, "utf8"), command);
  const [list, own] = each ?? ["", []];
  for (const field of [...fields, ...own])
    assert.ok(row.includes(`\`${field}\``), `${command}: ${field} is not told of`);
  const [first] = (result[list] ?? []) as Record<string, unknown>[];
  for (const field of own)
    assert.ok(first !== undefined && field in first, `${command}: ${list} have no ${field}`);
  return result;
}
