/**
 * Runs commands one after the other in one process, each as in a process of its own: with its words, its folder, its
 * environment and what it prints. A start of Node costs more than most commands.
 */
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { Readable, Writable } from "node:stream";
import vm from "node:vm";
import type { Typed } from "./command-host.ts";
import type { Result } from "./run.ts";

type Main = (words: readonly string[]) => Promise<number>;

Object.assign(globalThis, { __zod_globalConfig: { jitless: true } }); // as the entry of what ships does for commands
const programs = new Map<string, Main>();
const exit = process.exit.bind(process);
process.on("disconnect", () => exit());
// Commands end their process soon after themselves, for what they may have left open.
process.exit = (() => undefined) as unknown as typeof process.exit;

process.on("message", (typed: Typed) => {
  void run(typed).then((ran) => process.send?.(ran));
});

async function run({ words, cwd, env }: Typed): Promise<Result> {
  const out = new Collected();
  const err = new Collected();
  for (const [name, value] of Object.entries({ stdin: Readable.from([]), stdout: out, stderr: err }))
    Object.defineProperty(process, name, { value, configurable: true });
  process.env = { ...env };
  process.chdir(cwd);
  const verb = words.find((word) => word !== "--json");
  const code = await program(verb === "deploy" ? "deploy" : "commands")(words);
  process.chdir("/"); // whoever removes that folder ends what runs in it
  return { code, stdout: out.text, stderr: err.text };
}

class Collected extends Writable {
  text = "";

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** As the entry of what ships loads it. */
function program(name: string): Main {
  const known = programs.get(name);
  if (known !== undefined) return known;
  const filename = path.join(import.meta.dirname, `${name}.cjs`);
  const script = new vm.Script(fs.readFileSync(filename, "latin1"), {
    filename,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const its = { exports: {} as { readonly main: Main } };
  script.runInThisContext()(its.exports, createRequire(filename), its, filename, import.meta.dirname);
  programs.set(name, its.exports.main);
  return its.exports.main;
}
