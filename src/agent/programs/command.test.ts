import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { runCommand } from "./command.ts";

const APP = { uid: 70_998, gid: 70_998 };

test(
  "an app's environment is put on when rights were given up: nothing that it names runs or is loaded as root",
  { skip: process.getuid?.() !== 0 && "needs root" },
  async (t) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-command-"));
    atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
    fs.chmodSync(dir, 0o777);
    const bin = path.join(dir, "bin");
    fs.mkdirSync(bin);
    for (const tool of ["setpriv", "sh"])
      fs.writeFileSync(path.join(bin, tool), `#!/bin/sh\nid -u > ${dir}/${tool}\n`, { mode: 0o755 });
    const said: string[] = [];
    const env = {
      PATH: `${bin}:/usr/bin:/bin`,
      // The loader writes that file for whoever it loads a program.
      LD_DEBUG: "libs",
      LD_DEBUG_OUTPUT: path.join(dir, "loaded"),
      TEXT: "two\nlines, a 'quote' and $HOME",
    };
    const { end } = await runCommand(
      {
        argv: ["/bin/sh", "-c", 'id -u; echo "$PATH"; echo "$TEXT"; env | grep -c SKEIN_CARRIED'],
        cwd: dir,
        env,
        user: APP,
        withinMs: 20_000,
        onLine: (line) => said.push(line),
      },
      systemClock,
      t.signal,
    );
    assert.deepEqual(end, { kind: "exit", code: 1 }, "grep finds none that was carried");
    assert.deepEqual(said, [String(APP.uid), env.PATH, ...env.TEXT.split("\n"), "0"]);
    assert.deepEqual(
      ["setpriv", "sh"].filter((tool) => fs.existsSync(path.join(dir, tool))),
      [],
    );
    const loaded = fs.readdirSync(dir).filter((name) => name.startsWith("loaded."));
    assert.ok(loaded.length > 0, "the loader heard of it in the end");
    assert.deepEqual(
      loaded.filter((name) => fs.statSync(path.join(dir, name)).uid !== APP.uid),
      [],
    );
  },
);

const NONE = "0".repeat(16);
const RIGHTS: readonly [who: string, user: typeof APP | undefined, said: readonly string[]][] = [
  [
    "an app's user",
    APP,
    [`${APP.uid}`, `${APP.gid}`, `CapInh:\t${NONE}`, `CapEff:\t${NONE}`, `CapBnd:\t${NONE}`],
  ],
  ["the agent's own user", undefined, []],
];

for (const [who, user, said] of RIGHTS) {
  test(
    `what is run as ${who} has that user's rights alone, and can get no more`,
    { skip: process.getuid?.() !== 0 && "needs root" },
    async (t) => {
      const own = process.getgroups?.() ?? [];
      atEnd(t, () => process.setgroups?.(own));
      process.setgroups?.([...own, 4]); // an agent that somebody starts by hand may have some
      const lines: string[] = [];
      const script = "id -u; id -G; grep -E '^(CapInh|CapEff|CapBnd|NoNewPrivs):' /proc/self/status";
      const { end } = await runCommand(
        {
          argv: ["/bin/sh", "-c", script],
          cwd: "/",
          env: { PATH: "/usr/bin:/bin" },
          user,
          withinMs: 20_000,
          onLine: (line) => lines.push(line),
        },
        systemClock,
        t.signal,
      );
      assert.deepEqual(end, { kind: "exit", code: 0 });
      assert.equal(lines.pop(), "NoNewPrivs:\t1");
      if (user !== undefined) assert.deepEqual(lines, said);
    },
  );
}

test("a letter that comes in two pieces is one, and a line without an end is told at the end", async () => {
  const said: string[] = [];
  const { tail } = await runCommand(
    {
      argv: ["/bin/sh", "-c", String.raw`printf 'caf\303'; sleep 0.2; printf '\251\nlast \342\202'`],
      cwd: "/",
      env: { PATH: "/usr/bin:/bin" },
      user: undefined,
      withinMs: 20_000,
      onLine: (line) => said.push(line),
    },
    systemClock,
    new AbortController().signal,
  );
  assert.deepEqual(said, ["café", "last \ufffd"]);
  assert.deepEqual(tail, said);
});

test("a command that ends while the agent is stopped has not run into its time limit (long)", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-command-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const begun = runCommand(
    {
      argv: ["/bin/sh", "-c", "touch begun; sleep 1; exit 7"],
      cwd: dir,
      env: { PATH: "/usr/bin:/bin" },
      user: undefined,
      withinMs: 3000,
      onLine: () => undefined,
    },
    systemClock,
    t.signal,
  );
  await eventually("it runs", () => fs.existsSync(path.join(dir, "begun")));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3500); // this thread is the agent's
  assert.deepEqual((await begun).end, { kind: "exit", code: 7 });
});
