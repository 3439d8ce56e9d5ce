import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import type { RolloutView } from "../../api/schemas.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { jsonLog } from "../../lib/process/log.ts";
import { wordOf } from "../../operator/ask/commands.ts";
import { boardLines } from "./board.ts";

const IO = JSON.stringify(new URL("./io.ts", import.meta.url).href);
const REPORT = JSON.stringify(new URL("./report-error.ts", import.meta.url).href);
const ERRORS = JSON.stringify(new URL("../../lib/errors/errors.ts", import.meta.url).href);
/** Sets the window's title, clears the screen, hides what follows, writes the clipboard, turns text around. */
const EVIL = "\x1b]0;owned\x07 \x1b[2J\x1b[H \x1b[8m \x1b]52;c;ZWNobw==\x07 \x9b2J \u202etxt\r";
const ACTS = new RegExp(
  String.raw`[\0-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\x1b(?!\[\d*m)`,
);

function run(script: string): { readonly out: string; readonly err: string } {
  const args = ["--input-type=module", "-e", `const EVIL = ${JSON.stringify(EVIL)}; ${script}`];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  return { out: stdout, err: stderr };
}

test("what apps, nodes and hubs say cannot act on the terminal", () => {
  const { out, err } = run(`
    const { processIo } = await import(${IO});
    const io = processIo({});
    io.print("web1 web.1  " + EVIL + "\\tgood \\x1b[31mred\\x1b[39m");
    io.say("web1  " + EVIL);
  `);
  assert.doesNotMatch(out + err, ACTS);
  assert.match(out, /owned/, "it is shown, as what it is");
  assert.ok(out.endsWith("\tgood \x1b[31mred\x1b[39m\n"), "colours and tabs stay");
});

test("an error's message, lines and hint are held to the same", () => {
  const { err } = run(`
    const { processIo } = await import(${IO});
    const { reportError } = await import(${REPORT});
    const { SkeinError } = await import(${ERRORS});
    reportError(processIo({}), new SkeinError("IO", EVIL, { hint: EVIL, data: { lines: [EVIL], state: EVIL } }));
    reportError(processIo({}), new Error(EVIL));
  `);
  assert.match(err, /code {3}IO/);
  assert.doesNotMatch(err, ACTS);
});

test("events are JSON without a raw control character", () => {
  const { out } = run(`
    const { processIo } = await import(${IO});
    processIo({ json: true }).event({ type: "log", line: EVIL });
  `);
  assert.doesNotMatch(out, ACTS);
  assert.deepEqual(JSON.parse(out), { type: "log", line: EVIL });
});

test("a node's words on the board move nothing", () => {
  const node = { node: "n", name: "web1", batch: 0, gate: "go", state: `x\x1b[9A${EVIL}`, verdict: null };
  const rest = { code: null, message: null, bytesDone: 0, bytesTotal: null, note: `a\nb${EVIL}`, cut: 0 };
  const view = { app: "shop", release: "0".repeat(32), phase: "running", nodes: [{ ...node, ...rest }] };
  const lines = boardLines(view as unknown as RolloutView, {
    columns: 500,
    rows: 24,
    paint: (_colour, text) => text,
  });
  assert.equal(lines.length, 2);
  // oxlint-disable-next-line no-control-regex -- none may be left
  for (const line of lines) assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
});

test("one line of a node's log is one line, so that it cannot speak for another node", () => {
  const line = { node: "0".repeat(32) as KeyId, type: "line", name: "web1", line: "a\r\nweb2 web.1  b" };
  assert.equal(wordOf(line, "line"), "a web2 web.1  b");
});

test("a line that is left coloured colours nothing after it", () => {
  const { out } = run(`
    const { processIo } = await import(${IO});
    const io = processIo({});
    for (const line of ["\x1b[30mleft", "\x1b[31mred\x1b[39m", "\x1b[1m\x1b[4mx\x1b[24m", "\x1b[2m\x1b[91mx\x1b[22m\x1b[39m", "\x1b[32mx\x1b[m"]) io.print(line);
  `);
  assert.deepEqual(
    out
      .trimEnd()
      .split("\n")
      .map((line) => line.endsWith("\x1b[0m")),
    [true, false, true, false, false],
  );
});

test("a node's words in a table are one line, and further lines of a message belong to it", () => {
  const { out, err } = run(`
    const { columns, processIo } = await import(${IO});
    const { reportError } = await import(${REPORT});
    const { SkeinError } = await import(${ERRORS});
    const io = processIo({});
    for (const line of columns([["web1", "running\\nweb2  failed", "x"]])) io.print(line);
    const words = "a\\nerror  b";
    reportError(io, new SkeinError("IO", words, { hint: words, data: { lines: [words], state: words } }));
  `);
  assert.equal(out, "web1  running web2  failed  x\n");
  assert.equal(err.split("\n").filter((line) => line.startsWith("error")).length, 1);
  assert.match(err, /^ {2}error {2}b$/m);
  assert.match(err, /^ {2}\| a error {2}b$/m);
});

test("a log of daemons is JSON without a raw control character, too", () => {
  const said: string[] = [];
  jsonLog((line) => void said.push(line)).warn("a", { said: EVIL });
  assert.doesNotMatch(said.join(""), ACTS);
  assert.equal((JSON.parse(said.join("")) as { said: string }).said, EVIL);
});
