import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import { cliProgram } from "./cli-program.ts";
import { PATIENCE_MS } from "../lib/testing/patience.fixture.ts";
import { LAUNCHER } from "../lib/process/launcher.fixture.ts";

interface Said {
  readonly exit: number | null;
  readonly out: string;
  readonly err: string;
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "skein-cli-"));
  atEnd(t, () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function skein(dir: string, ...args: string[]): Said {
  return skeinWith(dir, {}, ...args);
}

function skeinWith(dir: string, more: Readonly<Record<string, string>>, ...args: string[]): Said {
  const { PATH, XDG_CACHE_HOME } = process.env;
  const env = { PATH, XDG_CACHE_HOME, HOME: dir, SKEIN_HOME: path.join(dir, "home"), ...more };
  const { status, stdout, stderr } = spawnSync(LAUNCHER, args, {
    cwd: dir,
    env,
    encoding: "utf8",
    timeout: PATIENCE_MS,
  });
  return { exit: status, out: stdout, err: stderr };
}

const lastLine = (text: string): Record<string, unknown> =>
  JSON.parse(text.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;

test("help and the version need no cluster and no network (long)", (t) => {
  const dir = folder(t);
  const help = skein(dir, "--help");
  assert.equal(help.exit, 0);
  for (const verb of ["init", "up", "keeper", "deploy", "rollback", "node", "ports", "completion"]) {
    assert.match(help.out, new RegExp(`^ {2}${verb}\\b`, "m"));
  }
  // Every verb stands under what it is for, help itself too.
  assert.doesNotMatch(help.out, /^Commands:/m);
  assert.match(help.out, /^Tools:\n(?: {2}.*\n)+ {2}help \[command\]/m);
  assert.match(skein(dir, "--version").out, /^skein \d+\.\d+\.\d+\n$/);
  for (const words of [
    ["version", "--json"],
    ["--json", "-V"],
    ["--version", "--json"],
  ])
    assert.match(String(lastLine(skein(dir, ...words).out)["version"]), /^\d+\.\d+\.\d+$/, words.join(" "));
  for (const words of [["--help"], ["deploy", "--help"], ["help", "node", "invite"]]) {
    const told = skein(dir, ...words, "--json").out;
    assert.equal(told.trim().split("\n").length, 1, "one event");
    const result = { type: "result", ok: true, help: skein(dir, ...words).out };
    assert.deepEqual(lastLine(told), result, words.join(" "));
    assert.equal(skeinWith(dir, { SKEIN_JSON: "1" }, ...words).out, told);
  }
  const one = skein(dir, "deploy", "--help");
  assert.equal(one.exit, 0);
  assert.match(one.out, /skein --help lists the flags of every command/);
});

test("servers, and what fetches for a machine, are started with little room for new objects, publishing with much, others with Node's own", (t) => {
  const dir = folder(t);
  const bin = path.join(dir, "bin");
  const node = path.join(dir, "node_modules/.bin/node");
  for (const made of [bin, path.dirname(node)]) mkdirSync(made, { recursive: true });
  copyFileSync(LAUNCHER, path.join(bin, "skein"));
  writeFileSync(node, '#!/bin/sh\necho "$@"\n', { mode: 0o755 });
  const startedWith = (more: Record<string, string>, ...args: string[]): string =>
    spawnSync(path.join(bin, "skein"), args, {
      encoding: "utf8",
      env: { ...process.env, SKEIN_BUCKET: "", ...more },
    }).stdout;
  const started = (...args: string[]): string => startedWith({}, ...args);
  const entry = path.join(bin, "skein.mjs");
  for (const words of [
    "agent run",
    "hub run",
    "up",
    "keeper /run/x",
    "--json agent run",
    "--json --quiet up",
    "sync --every 30s",
  ]) {
    const wanted = `--max-semi-space-size=2 --disable-warning=ExperimentalWarning ${entry} ${words}\n`;
    assert.equal(started(...words.split(" ")), wanted);
  }
  for (const words of ["ftl sync", "jump site.3", "ftl jump site.3"]) {
    assert.match(started(...words.split(" ")), /^--max-semi-space-size=2 --disable/);
  }
  for (const words of [
    "deploy",
    "--json deploy hub",
    "build .",
    "stage shop",
    "cp --version 3 shop",
    "spool site.tgz",
    "ftl spool site.tgz",
  ]) {
    assert.match(
      started(...words.split(" ")),
      /^(--use-openssl-ca )?--min-semi-space-size=16 --max-semi-space-size=16 --disable/,
    );
  }
  assert.match(started("deploy", "shop"), /^--use-openssl-ca /);
  for (const said of [
    startedWith({ SKEIN_BUCKET: "b" }, "deploy"),
    started("build"),
    started("spool", "x"),
  ]) {
    assert.doesNotMatch(said, /-ca /, "what may ask a bucket believes the CAs that Node knows");
  }
  for (const words of ["", "plan", "status --on agent", "--version", "logs build", "ftl list"]) {
    assert.doesNotMatch(started(...words.split(" ")), /semi-space/);
  }
});

test("a command is defined alone just as among all, but for the one that tells of all", () => {
  const all = cliProgram(() => undefined).commands;
  for (const command of all) {
    for (const verb of [command.name(), ...command.aliases()]) {
      const few = cliProgram(() => undefined, [verb]).commands;
      assert.equal(few.length < all.length, verb !== "completion", verb);
      const alone = few.find((one) => one.name() === command.name());
      assert.equal(alone?.helpInformation(), command.helpInformation());
    }
  }
});

test("what cannot be read exits 2 and says what was probably meant", (t) => {
  const dir = folder(t);
  const verb = skein(dir, "deplyo");
  assert.deepEqual([verb.exit, verb.out], [2, ""]);
  assert.match(verb.err, /Did you mean deploy\?/);
  const flag = skein(dir, "deploy", "--keep-oldd");
  assert.equal(flag.exit, 2);
  assert.match(flag.err, /Did you mean --keep-old\?/);
  const strange = skein(dir, "--app", "shop", "node", "invite", "--strange");
  assert.deepEqual([strange.exit, strange.out], [2, ""]);
  assert.match(strange.err, /See skein node invite --help\./);
  for (const [says, ...words] of [
    ["the word after status is empty", "status", ""],
    ["the word at the front is empty", "", "status"],
    ["--from= is empty", "deploy", "--from="],
    ["--lines is given twice: 3 and 4", "logs", "--lines", "3", "--lines", "4"],
    ["--limit is given twice: 5 and 20", "releases", "--limit", "5", "--limit", "20"],
    ["--timeout is given twice: 1s and 2s", "--timeout", "1s", "list", "--timeout", "2s"],
    [`'${"x".repeat(59)}… (3002 characters) is no app's name`, "status", "x".repeat(3000)],
  ] as const) {
    const { exit, out, err } = skein(dir, ...words);
    assert.deepEqual([exit, out, err.split("\n")[0]], [2, "", `error ${says}`]);
  }
  const own = skein(dir, "agent", "--join", "none", "--", "sh", "-c", "");
  assert.match(own.err, /no ticket/, "a command's own words may be empty");
  const read = skein(dir, "gc", "with", "many", "words");
  assert.equal(read.exit, 2);
  assert.doesNotMatch(read.err, /COMMAND/);
});

test("a reader that has seen enough ends the command without a word", async (t) => {
  const child = spawn(LAUNCHER, ["--help"], { cwd: folder(t), stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  const said = text(child.stderr);
  const [exit] = await once(child, "close");
  assert.deepEqual([exit, await said], [141, ""]);
});

test("what cannot be written is one line, and no crash", (t) => {
  const [err] = spawnSync(LAUNCHER, ["version"], {
    cwd: folder(t),
    encoding: "utf8",
    stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
  }).output.slice(-1);
  assert.match(
    err ?? "",
    /^error what this command prints cannot be written: ENOSPC[^\n]*\n {2}code {3}DISK_FULL\n$/,
  );
});

test("who ends the keeper is told whether there was one", (t) => {
  const { exit, err } = skein(folder(t), "keeper", "--shutdown");
  assert.deepEqual([exit, /^No keeper runs here \(.*run\)\.$/m.test(err)], [0, true], err);
});

test("without a cluster a command exits 7, names the state and the next command", (t) => {
  const said = skein(folder(t), "status");
  assert.equal(said.exit, 7);
  assert.match(said.err, /operates no cluster/);
  assert.match(said.err, /next {3}.*skein up/);
  assert.match(said.err, /code {3}NO_CLUSTER/);
});

test("in --json the last line is the result, with the error's code and exit (long)", (t) => {
  const dir = folder(t);
  const failed = skein(dir, "--json", "status");
  assert.equal(failed.err, "");
  const result = lastLine(failed.out);
  assert.deepEqual([result["type"], result["ok"], result["exit"]], ["result", false, 7]);
  assert.equal((result["error"] as { code: string }).code, "NO_CLUSTER");
  assert.deepEqual(lastLine(skein(dir, "version", "--json").out)["ok"], true);
  const script = String(lastLine(skein(dir, "completion", "bash", "--json").out)["script"]);
  assert.equal(skein(dir, "completion", "bash").out, `${script}\n`);
});

test("a cluster in a bucket has no hub to ask, and says what to type (long)", (t) => {
  const dir = folder(t);
  assert.equal(skein(dir, "init", "--bucket", `dir:${dir}/bucket`).exit, 0);
  const { exit, err } = skein(dir, "status");
  assert.equal(exit, 1);
  assert.match(err, /lists no hub.*skein list --master.*NO_HUB/s);
  writeFileSync(path.join(dir, "notes.txt"), "one");
  const spooled = skein(dir, "spool", "notes.txt", "--bucket", `dir:${dir}/bucket`);
  assert.equal(spooled.exit, 0, spooled.err);
  for (const verb of [["list"], ["ftl", "list"]]) {
    const listed = skein(dir, ...verb, "--bucket", `dir:${dir}/bucket`);
    assert.deepEqual([listed.exit, listed.out], [0, "notes\n"], "who names a bucket asks that");
  }
  const here = skein(dir, "ftl", "list", "--bucket", `dir:${dir}/bucket`, "--root", dir);
  assert.deepEqual([here.exit, here.out.includes("notes")], [0, false], "who names a root, too, asks that");
});

test("a release goes from one command into the next, and no file is called - (long)", (t) => {
  const dir = folder(t);
  const bucket = `dir:${dir}/bucket`;
  const made = lastLine(skein(dir, "init", "--json", "--bucket", bucket).out);
  writeFileSync(path.join(dir, "notes.txt"), "one");
  const spooled = skein(dir, "spool", "notes.txt", "--bucket", bucket).out.trim();
  const { PATH } = process.env;
  const pin = String(made["fingerprint"]);
  const env = { PATH, HOME: dir, SKEIN_HOME: path.join(dir, "home"), SKEIN_CHARTER: pin };
  const type = (line: string): Said => {
    const { status, stdout, stderr } = spawnSync("bash", ["-o", "pipefail", "-c", line], {
      cwd: dir,
      env,
      encoding: "latin1",
      timeout: PATIENCE_MS,
    });
    return { exit: status, out: stdout, err: stderr };
  };
  const word = `notes ${spooled} --bucket ${bucket}`;
  const exported = `${LAUNCHER} release export ${word} --output -`;
  const carried = type(`${exported} | tee copy | ${LAUNCHER} release import - --bucket dir:${dir}/other`);
  assert.equal(carried.exit, 0, carried.err);
  assert.match(
    carried.out,
    /^notes@[0-9a-f]{8} is now in dir:.*\/other\n$/,
    "what is said is not in between",
  );
  assert.match(carried.err, /^notes@[0-9a-f]{8} {2}\d/m);
  const written = type(`${LAUNCHER} release export ${word} --output file && cmp file copy`);
  assert.equal(written.exit, 0, `the same bytes as in a file: ${written.err}`);
  const events = lastLine(type(`${LAUNCHER} --json release import - --bucket ${bucket} < copy`).out);
  assert.deepEqual([events["already"], events["bytes"]], [true, readFileSync(path.join(dir, "copy")).length]);
  assert.match(
    type(`head -c 100 copy | ${LAUNCHER} release import - --bucket ${bucket}`).err,
    /EXPORT_DAMAGED/,
  );
  for (const [line, said] of [
    [`script -qec '${exported}' /dev/null`, /for a file or another command[^]*> FILE or \| COMMAND/],
    [`script -qec '${LAUNCHER} release import -' /dev/null`, /where - would be read from[^]*< FILE/],
    [`${exported} --json`, /Leave one of them out/],
    [`${LAUNCHER} hub backup -`, /a backup is a file, and no stream\n/],
  ] as const) {
    const refused = type(line);
    assert.match(refused.out + refused.err, said);
    assert.equal(refused.exit, 2, line);
  }
  assert.ok(!existsSync(path.join(dir, "-")));
});

test("a deployment to a bucket is refused what takes somebody who watches, and not half of it done (long)", (t) => {
  const dir = folder(t);
  const bucket = `dir:${dir}/bucket`;
  assert.equal(skein(dir, "init", "--bucket", bucket).exit, 0);
  writeFileSync(path.join(dir, "page.html"), "<p>shop</p>\n");
  const deploy = (...flags: string[]): Said =>
    skeinWith(dir, { SKEIN_BUCKET: bucket }, "deploy", "--from", "page.html", "--app", "shop", ...flags);
  for (const [flags, said] of [
    [["--apply-within", "20s"], /who was off takes it/],
    [["--batch", "1"], /no batches/],
    [["--bake", "5s"], /no bake time/],
    [["--attended"], /nobody reports/],
  ] as const) {
    const refused = deploy(...flags);
    assert.equal(refused.exit, 2, flags.join(" "));
    assert.match(refused.err, said);
  }
  assert.ok(!existsSync(path.join(dir, "bucket/releases")), "nothing was published");
  assert.equal(deploy("--bake", "0s", "--all-at-once").exit, 0, "what is so in any case is no reason");
});

test("FTL's name for the bucket is one for init, too, unless a hub is named (long)", async (t) => {
  const dir = folder(t);
  const bucket = path.join(dir, "bucket");
  const env = { FTL_BUCKET: `dir:${bucket}` };
  const made = skeinWith(dir, env, "init");
  assert.deepEqual([made.exit, /^bucket +(.*)$/m.exec(made.out)?.[1]], [0, `dir:${bucket}`], made.err);
  assert.ok(existsSync(path.join(bucket, "charters")));
  const other = { ...env, SKEIN_HOME: path.join(dir, "other") };
  const named = skeinWith(dir, other, "init", "--hub", `127.0.0.1:${await freePort()}`);
  assert.deepEqual([named.exit, /^bucket/m.test(named.out)], [0, false], named.err);
  const both = skeinWith(dir, { ...other, SKEIN_BUCKET: `dir:${bucket}` }, "init", "--hub", "h:1");
  assert.equal(both.exit, 2);
  assert.match(both.err, /a hub, or with a bucket in its place\n/);
});

test("what runs by itself names folders as they are called from anywhere", (t) => {
  const dir = folder(t);
  const pin = "ab".repeat(32);
  const agent = ["agent", "install", "--print", "--source", "dir:bucket", "--charter", pin];
  const sync = ["ftl", "sync", "--print", "--bucket", "./bucket", "--root", "root"];
  for (const words of [agent, sync]) {
    const { exit, out, err } = skeinWith(dir, { SKEIN_HOME: "home", SKEIN_CHARTER: pin }, ...words);
    assert.equal(exit, 0, err);
    assert.ok(out.includes(`dir:${dir}/bucket`) && out.includes(`SKEIN_HOME=${dir}/home`), out);
    assert.doesNotMatch(out, /dir:(bucket|\.)|=home|=root/);
  }
});

test("an agent's unit that pulls from a bucket is of the environment and the cluster that its installer is told (long)", (t) => {
  const dir = folder(t);
  const pin = "ab".repeat(32);
  const print = ["agent", "install", "--print"];
  const { out } = skeinWith(
    dir,
    { SKEIN_ENV: "prod", SKEIN_CHARTER: pin },
    ...print,
    "--source",
    "dir:/b",
    "--app",
    "web",
  );
  assert.match(out, new RegExp(`^ExecStart=.* --source dir:/b --charter ${pin} --app web --env prod$`, "m"));
  assert.doesNotMatch(
    skeinWith(dir, { SKEIN_ENV: "prod", SKEIN_CHARTER: pin }, ...print).out,
    /--env|--charter/,
  );
  for (const [said, words] of [
    [/is no fingerprint/, ["--source", "dir:/b", "--charter", "ab"]],
    [/Add --source, or leave --charter out/, ["--charter", pin]],
  ] as const) {
    for (const verb of [print, ["agent", "run"]]) {
      const { exit, err } = skein(dir, ...verb, ...words);
      assert.equal(exit, 2, err);
      assert.match(err, said);
    }
  }
});

test("where a bucket is another cluster's, init makes nothing", (t) => {
  const dir = folder(t);
  const bucket = `dir:${dir}/bucket`;
  assert.equal(skein(dir, "init", "--bucket", bucket).exit, 0);
  const home = path.join(dir, "machine");
  const refused = skeinWith(dir, { SKEIN_HOME: home }, "init", "--bucket", bucket);
  assert.equal(refused.exit, 1);
  assert.match(refused.err, /WRONG_CLUSTER/);
  const left = existsSync(home) ? readdirSync(home, { recursive: true, encoding: "utf8" }) : [];
  assert.deepEqual(
    left.filter((name) => /operator/.test(name)),
    [],
  );
});

test("an operator whose key an ssh-agent holds signs with it, and without it signs nothing", async (t) => {
  const dir = folder(t);
  const socket = path.join(dir, "agent.sock");
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "ignore"] });
  atEnd(t, () => agent.kill("SIGKILL"));
  await once(agent.stdout, "data");
  const env = { PATH: process.env["PATH"], HOME: dir, SKEIN_HOME: path.join(dir, "home") };
  const type = (command: string, words: readonly string[], more: Record<string, string>): Said => {
    const said = spawnSync(command, words, { cwd: dir, env: { ...env, ...more }, encoding: "utf8" });
    return { exit: said.status, out: said.stdout, err: said.stderr };
  };
  const held = { SSH_AUTH_SOCK: socket, SKEIN_BUCKET: `dir:${dir}/bucket` };
  assert.equal(type("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", "key"], {}).exit, 0);
  assert.equal(type("ssh-add", ["-q", "key"], held).exit, 0);
  const made = type(LAUNCHER, ["init", "--ssh-agent"], held);
  assert.equal(made.exit, 0, made.err);
  assert.ok(!existsSync(path.join(dir, "home/etc/operator/operator.key")), "no key file");
  writeFileSync(path.join(dir, "notes.txt"), "one");
  const spooled = type(LAUNCHER, ["spool", "notes.txt"], held);
  assert.match(spooled.out, /^notes\.\d{17}-[0-9a-f]{8}\n$/, spooled.err);
  const refused = type(LAUNCHER, ["jump", "--master", spooled.out.trim()], { ...held, SSH_AUTH_SOCK: "" });
  assert.equal(refused.exit, 4);
  assert.match(refused.err, /no ssh-agent.*KEY_UNREADABLE/s);
  assert.equal(type(LAUNCHER, ["jump", "--master", spooled.out.trim()], held).out, spooled.out);
});

test("validate names every problem with its place, and prints the expansion of what is right (long)", (t) => {
  const dir = folder(t);
  assert.match(skein(dir, "validate").err, /^note nothing in \S+ says what to deploy/m);
  writeFileSync(
    path.join(dir, "skein.yaml"),
    "app: shop\nrun: node a.js\nhealht: /up\nverify: { run: a, within: 5 }\n",
  );
  const bad = skein(dir, "validate");
  assert.equal(bad.exit, 2);
  assert.match(bad.err, /skein\.yaml:3:1: healht: there is no key healht: did you mean health\?/);
  assert.match(bad.err, /skein\.yaml:4:27: verify\.within: write a duration/);
  writeFileSync(path.join(dir, "skein.yaml"), "app: shop\nrun: node a.js\nlisten: 80\n");
  const good = skein(dir, "validate", "--full");
  assert.deepEqual([good.exit, good.err], [0, ""]);
  assert.match(good.out, /backlog: 4096/);
  writeFileSync(path.join(dir, "prod.yaml"), "app: shop\n");
  assert.match(
    skein(dir, "validate", "prod.yaml").err,
    /prod\.yaml is no manifest: that is called skein\.yaml/,
  );
  writeFileSync(path.join(dir, "skein.yaml"), "app: shop\nrun: node a.js\nwritable: [skein.yaml]\n");
  assert.match(skein(dir, "validate").err, /writable: skein\.yaml is a file in this release of shop/);
  writeFileSync(path.join(dir, "skein.yaml"), "app: shop\nrun: node a.js\nroutes: []\n");
  const later = skein(dir, "validate", "--json");
  assert.equal(later.exit, 2);
  assert.equal((lastLine(later.out)["error"] as { code: string }).code, "MANIFEST_LATER");
});

/** Nobody: its number has no entry in the system's list of users. */
const NUMBER = 61_999;

/** As a user that is a number alone, in a folder of its own. */
function asNumber(t: TestContext, env: Record<string, string>, ...args: string[]): Said & { dir: string } {
  const dir = folder(t);
  chownSync(dir, NUMBER, NUMBER);
  const { status, stdout, stderr } = spawnSync(LAUNCHER, args, {
    cwd: dir,
    uid: NUMBER,
    gid: NUMBER,
    env: { PATH: process.env["PATH"], ...env },
    encoding: "utf8",
    timeout: PATIENCE_MS,
  });
  return { exit: status, out: stdout, err: stderr, dir };
}

const notRoot = process.getuid?.() !== 0;

test("a user without a name, or without a home, is no defect (long)", { skip: notRoot }, async (t) => {
  const home = folder(t);
  const init = ["init", "--hub", `127.0.0.1:${await freePort()}`];
  chownSync(home, NUMBER, NUMBER);
  const made = asNumber(t, { HOME: home, SKEIN_HOME: path.join(home, "skein") }, ...init);
  assert.equal(made.exit, 0, made.err);
  assert.match(made.out, /^operator {5}operator$/m);
  const named = asNumber(t, { HOME: home, USER: "bea", XDG_CONFIG_HOME: "" }, ...init);
  assert.match(named.out, /^operator {5}bea$/m, named.err);
  assert.ok(
    existsSync(path.join(home, ".config/skein/operator/operator.key")),
    "an empty XDG variable does not count",
  );
  for (const said of [{}, { HOME: "" }]) {
    const homeless = asNumber(t, said, "status");
    assert.equal(homeless.exit, 2);
    assert.match(homeless.err, /no home folder\n {2}next {3}Set HOME, or SKEIN_HOME/);
  }
  const locked = folder(t);
  const refused = asNumber(t, { SKEIN_HOME: path.join(locked, "skein") }, ...init);
  assert.equal(refused.exit, 1);
  assert.match(refused.err, /permission denied[^]*next {3}Run it as a user[^]*code {3}IO\n/);
});

test("what is not there is said by its name", (t) => {
  const dir = folder(t);
  const none = skein(dir, "hub", "backup", "copy.db");
  assert.equal(none.exit, 7);
  assert.match(none.err, /no hub ran here/);
  const missing = skein(dir, "hub", "restore", "missing.db");
  assert.equal(missing.exit, 7);
  assert.match(missing.err, /there is no .*missing\.db/);
  const charter = skein(dir, "hub", "--charter", "missing.json");
  assert.equal(charter.exit, 1);
  assert.match(charter.err, /missing\.json[^]*code {3}IO\n/);
});

test("a word or flag that lacks its partner is named, before anything is asked of a hub (long)", (t) => {
  const dir = folder(t);
  const rows = [
    [["purge", "web"], /which release of web\?[^]*skein purge web VERSION/],
    [["repair", "web", "--every", "5s"], /Add --watch/],
    [["release", "presign", "--bucket", "dir:here", "--for", "1d"], /is read without addresses/],
    [["agent", "run", "--limit-transfers", "0"], /no count/],
    [["node", "invite", "bad name"], /bad name is no node's name/],
    [["node", "invite", "--valid", "0s"], /lets nobody in/],
    [["node", "invite", "all"], /all is no node's name/],
    [["node", "invite", "--label", "a b=c"], /a b=c is no label/],
    [["node", "label", "web1", "role=b c"], /role=b c is no label/],
    [["cache", "ls", "--address", "web1", "--on", "all"], /Leave one of them out/],
    [["sync", "--dry-run"], /skein sync has no dry run, and nothing was done: it works on this machine/],
    [["help", "nope"], /^error unknown command 'nope'/],
    [["--quiet", "help", "node", "nope"], /^error unknown command 'node nope'/],
    [["gc", "web", "--depot"], /a depot is collected as a whole/],
    [["gc", "--depot", "--count", "3"], /skein gc APP --count 3 is for the nodes/],
    [["cache", "repair", "./web"], /Add --rebuild/],
    [["cache", "persist", "web1", "--s3-bucket", "shelf"], /web1 and --s3-bucket both say where to/],
    [["purge", "web", "3f9c2ab1", "--master"], /--master PACKAGE\.REVISION, or skein purge web 3f9c2ab1/],
    [["stop", "web", "--on", "web1", "--on", "web2"], /given twice: web1 and web2[^]*'web1 \| web2'/],
    [["stop", "web.1@n1", "--all"], /--all is for an app, and web\.1 is one instance/],
    [["stop", "web.1@n1", "--now"], /Leave --now out, or name the app/],
    [["restart", "web.1@n1", "--attended"], /--attended is for an app/],
    [["rollback", "../web"], /'\.\.\/web' is no app's name/],
    [["status", "web", "--app", "shop"], /the app is given twice: web and shop/],
    [["status", "--env", "A B"], /'A B' is no environment's name/],
    [["cp", "web", "--full=1"], /--full takes no value[^]*Write --full alone/],
    [["gc", "web", "--count", "10000"], /10000 is no number of releases[^]*Write 0 to 9999/],
    [["up", "--address", "http://x"], /--address http:\/\/x is neither an address nor a name/],
    [["up", "--address", "nonsense.invalid"], /a name that this machine does not know[^]*127\.0\.0\.1/],
    [["up", "--bind", "1.2.3"], /--bind 1\.2\.3 is neither/],
    [["up", "--name", "A B"], /A B is no node's name/],
    [["agent", "run", "--address", "10.0.0.1:80"], /is neither an address[^]*Without a port/],
    [["agent", "install", "--print", "--bind", "a b"], /--bind a b is neither/],
    [["hub", "--cache-size", "1GiB"], /Name it with --depot/],
    [["hub", "install", "--print", "--listen", "x:y:z"], /x:y:z is no address/],
    [["agent", "install", "--print", "--cache-size", "much"], /--cache-size much/],
    [["hub", "install", "--print", "--depot", "/srv/depot"], /--depot \/srv\/depot is no bucket/],
  ] as const;
  for (const [words, text] of rows) {
    const { exit, err } = skein(dir, ...words);
    assert.equal(exit, 2, err);
    assert.match(err, text);
  }
});

test("a hub that runs without a charter is given the one that is made beside it (long)", async (t) => {
  const dir = folder(t);
  const env = { PATH: process.env["PATH"], HOME: dir, SKEIN_HOME: path.join(dir, "home") };
  const hub = spawn(LAUNCHER, ["hub", "--json", "--quiet", "--listen", "127.0.0.1:0"], {
    cwd: dir,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(hub, "exit");
  atEnd(t, async () => {
    hub.kill();
    await ended;
  });
  const [line] = (await once(createInterface(hub.stdout), "line")) as [string];
  const address = (JSON.parse(line) as { hub: string }).hub;
  const laptop = path.join(dir, "laptop");
  mkdirSync(laptop);
  const forgotten = skein(laptop, "init", "--hub", address);
  assert.equal(forgotten.exit, 4);
  assert.match(forgotten.err, /is not this machine's own\n.*HOST:PORT#KEY/);
  const short = skein(laptop, "init", "--hub", `${address}#3d5c`);
  assert.match(short.err, /#3d5c names no hub\n.*64 digits/);
  const portless = skein(laptop, "init", "--hub", "127.0.0.1:0");
  assert.match(portless.err, /127\.0\.0\.1:0 names no port\n/);
  assert.equal(skein(laptop, "status").exit, 7, "nothing was made");
  const made = skein(dir, "init", "--hub", address);
  assert.equal(made.exit, 0, made.err);
  assert.match(made.err, /^next {2}skein node invite$/m);
  const invited = skein(dir, "node", "invite");
  assert.equal(invited.exit, 0, invited.err);

  assert.match(skein(dir, "hub", "backup", "copy.db").err, /Keep .*hub\.key as well/);
  const elsewhere = { ...env, SKEIN_HOME: path.join(dir, "elsewhere") };
  const run = { cwd: dir, env: elsewhere, encoding: "utf8" } as const;
  assert.equal(spawnSync(LAUNCHER, ["hub", "restore", "copy.db"], run).status, 0);
  const keyless = spawn(LAUNCHER, ["hub", "--listen", "127.0.0.1:0"], {
    cwd: dir,
    env: elsewhere,
    stdio: ["ignore", "ignore", "pipe"],
  });
  for await (const said of createInterface(keyless.stderr)) {
    if (said.includes("put the old hub's key in its place")) break;
  }
  keyless.kill();
  await once(keyless, "exit");
});

test("a mistyped verb of the agent is not run in place of apps", (t) => {
  const typo = skein(folder(t), "agent", "instal");
  assert.equal(typo.exit, 2);
  assert.match(typo.err, /unknown command 'agent instal'[^]*skein agent run -- COMMAND/);
  const before = skein(folder(t), "agent", "rum", "--", "node", "--", "server.js");
  assert.equal(before.exit, 2);
  assert.match(before.err, /unknown command 'agent rum'/);
  assert.match(skein(folder(t), "agent", "run", "--", "node", "--", "server.js").err, /NOT_JOINED/);
});

test("an operator is made once and shown the second time", async (t) => {
  const dir = folder(t);
  const hub = `127.0.0.1:${await freePort()}`;
  const first = lastLine(skein(dir, "init", "--json", "--name", "ann", "--hub", hub).out);
  const second = lastLine(skein(dir, "init", "--json", "--hub", hub).out);
  assert.equal(first["already"], false);
  assert.equal(second["already"], true);
  assert.equal(second["fingerprint"], first["fingerprint"]);
  assert.match(String(first["fingerprint"]), /^[0-9a-f]{64}$/);
  for (const [words, said] of [
    [["--name", "bob"], /calls its operator ann\n[^]*Leave --name out\./],
    [["--ssh-agent"], /signed for with a key file\n[^]*Leave --ssh-agent out\./],
  ] as const) {
    const refused = skein(dir, "init", "--hub", hub, ...words);
    assert.equal(refused.exit, 2, "it would not be made as typed");
    assert.match(refused.err, said);
  }
  const moved = skein(dir, "init", "--hub", `127.0.0.1:${await freePort()}`);
  assert.deepEqual([moved.exit, moved.out], [1, ""]);
  assert.match(moved.err, new RegExp(`names another hub: ${hub}#`));
  const shown = lastLine(skein(dir, "init", "--json", "--name", "ann").out);
  assert.deepEqual([shown["already"], shown["hub"]], [true, first["hub"]], "the one that there is");
  const elsewhere = skein(dir, "init", "--hub", `${hub}#${"ab".repeat(32)}`);
  assert.equal(elsewhere.exit, 1, "its charter would make that hub useless");
  assert.match(elsewhere.err, /names another hub: 127\.0\.0\.1:\d+#[0-9a-f]{64}\n[^]*WRONG_CLUSTER/);
  const unreachable = skein(dir, "status");
  assert.equal(unreachable.exit, 1);
  assert.match(unreachable.err, /HUB_UNREACHABLE/);
});
