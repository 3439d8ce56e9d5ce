/**
 * What README.md tells a stranger to type, word for word: a fresh clone's `npm run demo` and `npm run build`, `npm i -g`
 * of the tarball with the Node that this machine has, one machine alone as somebody without rights, and hub, operator
 * and node on machines of their own. Where a command prints something else than the README shows, it fails.
 * `npm run prove -- install`. Needs root, iproute2, overlayfs and what npm installs from.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Processes } from "../support/processes.ts";
import { type Machine, startMachines, USER } from "./machines.ts";
import type { Proof } from "./main.ts";

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, "../..");
const HUB = "hub.example.com";
const { NODE_EXTRA_CA_CERTS } = process.env;
/** Neither a checkout's programs nor what npm told this one; but whom this machine trusts, where that is said here. */
const OUTSIDE = {
  HOME: os.homedir(),
  ...(NODE_EXTRA_CA_CERTS === undefined ? {} : { NODE_EXTRA_CA_CERTS }),
  PATH: (process.env["PATH"] ?? "")
    .split(path.delimiter)
    .filter((dir) => !dir.includes("node_modules"))
    .join(path.delimiter),
};

type Say = (line: string) => void;

export const install: Proof = async (_args, say, signal) => {
  const dir = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), "skein-")));
  await fs.chmod(dir, 0o755); // apps have users of their own
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => await fs.rm(dir, { recursive: true, force: true }));
  const processes = stack.use(new Processes(dir));
  const readme = await fs.readFile(path.join(ROOT, "README.md"), "utf8");
  const bin = await installed(dir, readme, say, signal);
  const options = { alias: HUB, dir, bin, processes, signal };
  const machines = await startMachines(["hub", "you", "web1", "alone"], options);
  await aloneInAMinute(machines.alone, sectionOf(readme, "On one machine"), say);
  await onOwnMachines(machines, sectionOf(readme, "On your own machines"), say);
};

/** The demo and the tarball, by the Node that this machine has. @returns the folder with `skein` */
async function installed(dir: string, readme: string, say: Say, signal: AbortSignal): Promise<string> {
  const clone = path.join(dir, "clone");
  const options = { cwd: clone, env: OUTSIDE, signal, maxBuffer: 2 ** 26 };
  await run("git", ["clone", "-q", ROOT, clone], { env: OUTSIDE, signal });
  const { stdout: node } = await run("node", ["--version"], options);
  assert.match(sectionOf(readme, "See it"), /^npm run demo$/m);
  const demo = await run("npm", ["run", "demo"], options);
  const lost = /^requests lost in all: 0 of [1-9]\d+$/m.exec(demo.stdout);
  assert.ok(lost, demo.stdout);
  say(`npm run demo: ${lost[0]}`);
  const [line = ""] = commandsIn(sectionOf(readme, "On one machine"));
  const prefix = path.join(dir, "prefix");
  assert.match(line, /npm run build && npm i -g \.\/dist\/\S+\.tgz$/);
  await run("sh", ["-c", line.replace("npm i -g", `npm i -g --prefix ${prefix}`)], options);
  say(`${line}: with Node ${node.trim()}`);
  return path.join(prefix, "bin");
}

async function aloneInAMinute(machine: Machine, text: string, say: Say): Promise<void> {
  const [, up = "", ...rest] = commandsIn(text);
  await ok(machine, "mkdir empty app");
  await machine.write("app/package.json", JSON.stringify({ scripts: { start: "node server.js" } }));
  await machine.write("app/server.js", serverSaying("served"));
  await machine.start(up, (printed) => /^hub 127\.0\.0\.1:7400, node alone\b/m.test(printed), {
    folder: "empty",
  });
  let last = "";
  for (const line of rest) last = await ok(machine, line, "app");
  const [, where] = /(127\.0\.0\.1:\d+)/.exec(last) ?? [];
  assert.equal(await ok(machine, `curl -s http://${where}/`), "served");
  say(`${[up, ...rest].join("; ")}: served, without rights, from an empty folder`);
}

type Three = Readonly<Record<"hub" | "you" | "web1", Machine>>;

async function onOwnMachines(machines: Three, text: string, say: Say): Promise<void> {
  await prepareShop(machines.you, text);
  /** What README.md shortens, by how it begins there. */
  const known = new Map<string, string>();
  for (const { who, line, shown } of promptsIn(text)) {
    const typed = lengthen(line.replace(/^.* # systemd; or without it: /, ""), known);
    const isServer = /^skein (hub|agent run)\b/.test(typed);
    const isReady = (printed: string): boolean =>
      shown.length === 0
        ? printed.includes('"msg":"agent started"')
        : shown.every((words) => lineLike(words, printed) !== undefined);
    const printed = isServer
      ? await machines[who].start(typed, isReady, { user: "root" })
      : await ok(machines[who], typed, "shop");
    for (const words of shown) learn(words, printed, known);
    say(`${who}$ ${typed.replace(/(skj1_.{4})\S+/, "$1…")}`);
  }
  const answer = await ok(machines.you, `curl -s http://${machines.web1.address}:8080/`);
  assert.equal(answer, "two", "it went back from v1.4.2 to what had been deployed before");
}

const serverSaying = (word: string): string =>
  `require("http").createServer((q, r) => r.end("${word}")).listen(process.env.PORT);\n`;

/** The app that README.md leaves to the reader, with the manifest that it shows. */
async function prepareShop(you: Machine, text: string): Promise<void> {
  const [, manifest = ""] = /```yaml\n([^]*?)```/.exec(text) ?? [];
  await ok(you, "git init -qb main shop");
  await ok(
    you,
    `git config --global user.name ${USER} && git config --global user.email ${USER}@example.com`,
  );
  await you.write("shop/skein.yaml", manifest);
  for (const word of ["one", "two"]) {
    await you.write("shop/server.js", serverSaying(word));
    await ok(you, `git add -A && git commit -qm ${word} && git tag v1.4.${word === "one" ? 2 : 3}`, "shop");
  }
}

/** @returns what it printed */
async function ok(machine: Machine, line: string, folder = "."): Promise<string> {
  const { code, output } = await machine.run(line, { folder });
  assert.equal(code, 0, `${machine.name}$ ${line}\n${output}`);
  return output;
}

/** The line that is like the one which README.md shows: keys and hashes, which it shortens, are others. */
function lineLike(words: string, printed: string): string | undefined {
  const pattern = words
    .trim()
    .split(/\s+/)
    .map((word) => word.replace(/[0-9a-f]*…/, "…").replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
    .map((word) => word.replace("…", String.raw`\S+`));
  const whole = new RegExp(`^${pattern.join(String.raw`\s+`)}$`);
  return printed.split("\n").find((line) => whole.test(line.trim()));
}

/** Remembers what stands where README.md shortens. */
function learn(words: string, printed: string, known: Map<string, string>): void {
  const found =
    lineLike(words, printed) ?? assert.fail(`the README shows: ${words}\nprinted was:\n${printed}`);
  for (const [, start = ""] of words.matchAll(/(\w+)…/g)) {
    const [real] = (start.startsWith("skj1_") ? /skj1_\S+/ : /[0-9a-f]{32,}/).exec(found) ?? [];
    if (real !== undefined) known.set(`${start}…`, real);
  }
}

function lengthen(line: string, known: ReadonlyMap<string, string>): string {
  return line.replaceAll(
    /\w+…/g,
    (short) => known.get(short) ?? assert.fail(`${short} was not shown before`),
  );
}

function sectionOf(readme: string, title: string): string {
  const section = readme.split(/^## /m).find((one) => one.startsWith(title));
  return section ?? assert.fail(`README.md has no section ${title}`);
}

/** Lines of blocks that are typed on the one machine that there is. */
const commandsIn = (text: string): string[] =>
  blocksIn(text).flatMap((block) => block.map((line) => line.replace(/\s+#.*/, "").trim()));

/** Of plain blocks, their lines. */
const blocksIn = (text: string): string[][] =>
  [...text.matchAll(/^```(\w*)\n([^]*?)^```$/gm)]
    .filter(([, language]) => language === "")
    .map(([, , block = ""]) => block.split("\n").filter((line) => line !== ""));

interface Prompt {
  readonly who: keyof Three;
  readonly line: string;
  /** What is printed then. */
  readonly shown: readonly string[];
}

function promptsIn(text: string): Prompt[] {
  const prompts: { who: keyof Three; line: string; shown: string[] }[] = [];
  for (const line of blocksIn(text).flat()) {
    const [, who, typed = ""] = /^(hub|you|web1)\$ (.*)$/.exec(line) ?? [];
    if (who === undefined) prompts.at(-1)?.shown.push(line);
    else prompts.push({ who: who as keyof Three, line: typed.replace(/ +# (?!systemd).*/, ""), shown: [] });
  }
  return prompts;
}
