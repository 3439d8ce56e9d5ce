// node scripts/setup.mjs [--tests] [FILE ARGS...]
// Installs what a checkout needs and says so, then runs FILE with the Node that came with it. Works on Node 20 or
// newer, has no dependencies, and costs well under a second when everything is there. `--tests` also looks for the
// programs that tests run against. (It runs FILE itself because a shell remembers where it found `node` first.)
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const stamp = path.join(root, "node_modules", ".skein-setup");
const major = Number(process.versions.node.split(".")[0]);

/** program, or file, → Debian package; what the tests run real servers and faults with. */
const TEST_PROGRAMS = {
  git: "git",
  gunicorn: "gunicorn",
  uvicorn: "uvicorn",
  puma: "puma",
  python3: "python3",
  "/usr/lib/python3/dist-packages/swift": "python3-swift",
  zstd: "zstd",
  "ssh-agent": "openssh-client",
  setcap: "libcap2-bin",
  chattr: "e2fsprogs",
  losetup: "mount",
  setpriv: "util-linux",
  "/lib/systemd/systemd": "systemd",
  script: "bsdutils",
  strace: "strace",
  zsh: "zsh",
  fish: "fish",
};

if (major < 20) fail("Skein needs Node 20 or newer to set itself up (it then brings its own Node 26).");
installPackages();
const rest = process.argv.slice(2);
if (rest[0] === "--tests") {
  rest.shift();
  installPrograms();
}
if (rest.length > 0) runWithOwnNode(rest);

function installPackages() {
  const wanted = createHash("sha256")
    .update(readFileSync(path.join(root, "package-lock.json")))
    .digest("hex");
  const have = existsSync(stamp) ? readFileSync(stamp, "utf8") : "";
  if (have === wanted && existsSync(path.join(root, "node_modules/.bin/node"))) return;
  say("installing npm packages (npm ci), Node 26 among them");
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (npm.status !== 0) fail("npm ci failed; see its words above.");
  tryNode();
  writeFileSync(stamp, wanted);
}

/** Whether Node 26 starts here: a minimal Debian lacks a library that it needs. */
function tryNode() {
  const start = () => spawnSync(path.join(root, "node_modules/.bin/node"), ["-e", "0"], { encoding: "utf8" });
  let { status, stderr } = start();
  if (status !== 0 && stderr.includes("libatomic.so") && installDebian(["libatomic1"]))
    ({ status, stderr } = start());
  if (status !== 0) fail(`Node 26 does not start: ${stderr.trim()}`);
}

function installPrograms() {
  const missing = Object.entries(TEST_PROGRAMS).filter(([program]) => !onPath(program));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(([, name]) => name))];
  if (installDebian(packages)) return;
  say(`without ${missing.map(([program]) => program).join(", ")}, tests that need them are skipped`);
  if (process.env.CI) fail("in CI no test may be skipped");
}

/** @returns whether they are there now; else it has said what to type */
function installDebian(packages) {
  if (process.getuid?.() !== 0 || !onPath("apt-get")) {
    say(`missing; type: sudo apt-get install -y ${packages.join(" ")}`);
    return false;
  }
  say(`installing Debian packages: ${packages.join(" ")}`);
  apt("update");
  apt("install", "-y", "--no-install-recommends", ...packages);
  return true;
}

function runWithOwnNode([file, ...args]) {
  const bin = path.join(root, "node_modules", ".bin");
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH ?? ""}` };
  const child = spawn(path.join(bin, "node"), [path.join(root, file), ...args], { stdio: "inherit", env });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
}

function apt(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  try {
    execFileSync("apt-get", ["-qq", ...args], { env, stdio: ["ignore", "ignore", 2] });
  } catch {
    fail(`apt-get ${args.join(" ")} failed; see its words above.`);
  }
}

function onPath(program) {
  if (path.isAbsolute(program)) return existsSync(program);
  return (process.env.PATH ?? "").split(":").some((dir) => existsSync(path.join(dir, program)));
}

function say(text) {
  console.error(`setup: ${text}`);
}

function fail(text) {
  console.error(`setup: ${text}`);
  process.exit(1);
}
