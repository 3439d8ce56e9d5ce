// The entry of what is installed. Each program beside it is one file, and is run with what V8 compiled of it when the
// same was typed before: Node's own compile cache has only what was compiled before a module ran, and most is compiled
// when it is called.
const fs = process.getBuiltinModule("node:fs");
const module = process.getBuiltinModule("node:module");
const os = process.getBuiltinModule("node:os");
const path = process.getBuiltinModule("node:path");
const vm = process.getBuiltinModule("node:vm");

/** What each program's compiled code begins with, before a sum of it: a digest of the program. The build writes it here. */
const DIGESTS = {};
/** Of so many words a sum takes one: disks lose sectors, which have that many. */
const SUM_STEP = 128;
const SUM_DIGITS = 8;
/** Done, done with differences found: what fails may have called next to nothing, and a word may be no verb. */
const WORTH_KEEPING = [0, 10];

const words = process.argv.slice(2);
const has = (...some) => some.some((word) => words.includes(word));
// A command reads each kind of document a few times and ends: compiling readers for them costs more than it saves.
// zod looks at this while its schemas are made, so before anything else is loaded.
if (!has("hub", "agent", "up")) globalThis.__zod_globalConfig = { jitless: true };
const { main } = load(...programOf());
process.exitCode = await main(words, process.env);

/** Which program does what was typed, and what it is called among those that do the same. */
function programOf() {
  if (import.meta.filename.endsWith("git-remote-skein.mjs")) return ["git-remote", "git-remote"];
  const help = has("help", "--help", "-h", "--version");
  if (words.length === 0 || (words.length === 1 && help)) return ["help", "help"];
  const [verb = "", next = ""] = words.filter((word) => word !== "--json");
  if (help) return ["commands", "help-of-one"];
  if (verb === "deploy") return ["deploy", "deploy"];
  const isServer = (verb === "hub" && !/^\w/.test(next)) || (verb === "agent" && next === "run");
  if (isServer) return ["commands", `${verb}s`];
  return ["commands", /^[a-z][a-z-]*$/.test(verb) ? verb : "other"];
}

function load(program, kind) {
  const file = path.join(import.meta.dirname, `${program}.cjs`);
  const script = compiled(file, DIGESTS[program], kind);
  const its = { exports: {} };
  script.runInThisContext()(its.exports, module.createRequire(file), its, file, import.meta.dirname);
  return its.exports;
}

function compiled(filename, digest, kind) {
  const kept = keptFile(kind);
  const cachedData = kept && codeIn(kept, digest);
  const script = new vm.Script(fs.readFileSync(filename, "latin1"), {
    filename,
    cachedData,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  if (kept === undefined || (cachedData !== undefined && !script.cachedDataRejected)) return script;
  const keep = () => {
    globalThis.skeinKeepCompiled = undefined;
    keepIn(kept, digest, script);
  };
  // Those that stay say when: later they let go of it, and some are killed.
  if (kind === "hubs" || kind === "agents") globalThis.skeinKeepCompiled = keep;
  else process.once("exit", (code) => WORTH_KEEPING.includes(code) && keep());
  return script;
}

/** Where compiled code is kept: below it each installation has a folder of its own, by its path. */
function keptFolder() {
  const places = [process.env.XDG_CACHE_HOME ?? "", path.join(os.homedir(), ".cache")];
  const cache = places.find(path.isAbsolute);
  // An empty HOME would make it the folder one is in.
  if (cache === undefined) throw new Error("there is no folder for what is cached");
  return path.join(cache, "skein", "compiled");
}

/** In a folder that only this user can write. @returns undefined: there is none */
function keptFile(kind) {
  try {
    const whole = keptFolder();
    const folder = path.join(whole, import.meta.dirname);
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = fs.lstatSync(whole);
    return uid === process.getuid?.() && (mode & 0o077) === 0 ? path.join(folder, kind) : undefined;
  } catch {
    return undefined;
  }
}

function codeIn(kept, digest) {
  try {
    const all = fs.readFileSync(kept);
    const code = all.subarray(digest.length + SUM_DIGITS);
    const head = all.toString("latin1", 0, digest.length + SUM_DIGITS);
    return head === digest + sumOf(code) ? code : undefined;
  } catch {
    return undefined;
  }
}

/**
 * V8 trusts what it is given, and dies of what a disk has changed. A hash of Node's would have to be loaded, and a loop
 * over every word has V8 compile it: its compiler is 5 MiB of a server's memory.
 */
function sumOf(code) {
  const words = new Int32Array(code.buffer, code.byteOffset, code.length >> 2);
  let sum = code.length;
  for (let at = 0; at < words.length; at += SUM_STEP) sum = (sum << 1) ^ (sum >> 31) ^ words[at];
  return (sum >>> 0).toString(16).padStart(SUM_DIGITS, "0");
}

/** Whole on the disk before it has its name. Without it the next start only takes longer. */
function keepIn(kept, digest, script) {
  const made = `${kept}.${process.pid}`;
  try {
    // The first of an installation, which often takes the place of another.
    if (fs.readdirSync(path.dirname(kept)).length === 0) removeGone(keptFolder(), "/");
    const code = script.createCachedData();
    const all = Buffer.concat([Buffer.from(digest + sumOf(code), "latin1"), code]);
    fs.writeFileSync(made, all, { mode: 0o600, flag: "wx", flush: true });
    fs.renameSync(made, kept);
  } catch {
    fs.rmSync(made, { force: true });
  }
}

/** Removes what installations left that are gone, and folders that hold nothing any more. */
function removeGone(folder, installed) {
  const isGone = !fs.existsSync(path.join(installed, path.basename(import.meta.filename)));
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const at = path.join(folder, entry.name);
    if (entry.isDirectory()) removeGone(at, path.join(installed, entry.name));
    else if (isGone) fs.rmSync(at, { force: true });
  }
  // Not this one's, which is still empty.
  if (isGone && fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
}
