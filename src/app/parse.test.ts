import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { stringify } from "yaml";
import { SkeinError } from "../lib/errors/errors.ts";
import { DEFAULTS } from "./defaults.ts";
import type { Manifest } from "./manifest.ts";
import { parseManifest, type PlacedProblem } from "./parse.ts";
import { formatSize } from "../lib/text/units.ts";
import { manifestWords } from "./print.ts";

const read = (text: string, env = "default"): Manifest =>
  parseManifest(text, { file: "skein.yaml", env, app: "shop" });

function refusal(text: string, env = "default"): SkeinError {
  try {
    read(text, env);
  } catch (err) {
    if (err instanceof SkeinError) return err;
    throw err;
  }
  return assert.fail("the manifest was accepted");
}

const lines = (text: string): string[] => refusal(text).message.split("\n");

test("an app of three lines gets the safe defaults", () => {
  const manifest = read("run: node server.js\nlisten: 8080\nhealth: /up\n");
  assert.equal(manifest.app, "shop");
  assert.equal(manifest.kind, "service");
  assert.deepEqual(manifest.strategy, DEFAULTS.strategy);
  assert.deepEqual(manifest.keep, DEFAULTS.keep);
  const { web } = manifest.processes;
  assert.deepEqual(web?.run, { argv: ["node", "server.js"] });
  assert.deepEqual(web?.listen, {
    http: { protocol: "http", port: 8080, path: null, handover: "auto", gate: "auto", backlog: 4096 },
  });
  assert.deepEqual(web?.ready.check, { type: "http", path: "/up", socket: "http", tls: false });
  assert.equal(web?.live, null);
  assert.deepEqual(web?.drain, DEFAULTS.drain);
});

test("an empty manifest is an app of files", () => {
  const manifest = read("");
  assert.equal(manifest.kind, "files");
  assert.deepEqual(manifest.processes, {});
});

test("short and full forms mean the same", () => {
  const short = read("run: node a.js\nlisten: auto\nhealth: /up\nbuild: make\nverify: bin/smoke\n");
  const full = read(`
build: { run: make }
processes:
  web: { run: [node, a.js], listen: { http: { port: auto } }, health: { ready: { http: /up } } }
verify: { run: [bin/smoke] }
`);
  assert.deepEqual(short, full);
});

test("every key of a process is read, with units", () => {
  const { worker } = read(`
processes:
  worker:
    run: { sh: "exec ./worker | logger" }
    overlap: false
    count: 2
    on: role=worker
    listen: { admin: { path: admin.sock }, beat: { protocol: udp, port: 99 } }
    health: { ready: { run: bin/ready, every: 500ms, passes: 3, within: 1m30s }, live: { tcp: true, fails: 1 } }
    drain: { signal: QUIT, window: 0s, within: 2s, now: INT }
    restart: { backoff: 10ms..1h, limit: 3 in 1m }
    limits: { memory: 512MiB, cpu: 0.5, files: 100, pids: 9 }
    env: { DEBUG: true, LEVEL: 3 }
`).processes;
  assert.deepEqual(worker, {
    run: { sh: "exec ./worker | logger" },
    overlap: false,
    count: 2,
    on: "role=worker",
    listen: {
      admin: {
        protocol: "unix",
        port: null,
        path: "admin.sock",
        handover: "auto",
        gate: "auto",
        backlog: 4096,
      },
      beat: { protocol: "udp", port: 99, path: null, handover: "auto", gate: "auto", backlog: 4096 },
    },
    ready: {
      check: { type: "run", run: { argv: ["bin/ready"] } },
      everyMs: 500,
      passes: 3,
      withinMs: 90_000,
      aliveMs: 5000,
    },
    live: { check: { type: "tcp", socket: "admin" }, everyMs: 10_000, fails: 1 },
    drain: { signal: "QUIT", windowMs: 0, withinMs: 2000, now: "INT" },
    restart: { backoffMinMs: 10, backoffMaxMs: 3_600_000, limit: 3, limitWithinMs: 60_000 },
    limits: { memoryBytes: 512 * 2 ** 20, cpu: 0.5, files: 100, pids: 9 },
    after: [],
    uses: [],
    env: { DEBUG: "true", LEVEL: "3" },
  });
});

test("health at the top is for the processes with an HTTP socket", () => {
  const { processes } = read(`
health: /up
processes:
  web: { run: a, listen: { tls: { port: 443, protocol: tls } } }
  own: { run: b, listen: 81, health: /mine }
  job: { run: c }
`);
  assert.deepEqual(processes["web"]?.ready.check, { type: "http", path: "/up", socket: "tls", tls: true });
  assert.deepEqual(processes["own"]?.ready.check, {
    type: "http",
    path: "/mine",
    socket: "http",
    tls: false,
  });
  assert.equal(processes["job"]?.ready.check, null);
});

test("a size is printed as a person would write it", () => {
  const rows = [
    [0, "0B"],
    [512 * 2 ** 20, "512MiB"],
    [1_000_000_000, "1GB"],
    [1536, "1536B"],
    [3 * 2 ** 30, "3GiB"],
  ] as const;
  for (const [bytes, text] of rows) assert.equal(formatSize(bytes), text);
});

test("services of other apps are named for all processes, for one, and per environment", () => {
  const text = `
uses: [billing.http, mail.smtp.admin]
processes:
  web: { run: a, uses: [billing.http, search-2.query_api] }
  job: { run: b }
environments:
  staging: { uses: [], processes: { job: { uses: [mail.smtp] } } }
`;
  const usesOf = ({ uses, processes }: Manifest): unknown => [
    uses,
    processes["web"]?.uses,
    processes["job"]?.uses,
  ];
  const web = ["billing.http", "search-2.query_api"];
  assert.deepEqual(usesOf(read(text)), [["billing.http", "mail.smtp.admin"], web, []]);
  assert.deepEqual(usesOf(read(text, "staging")), [[], web, ["mail.smtp"]]);
});

test("each bad name in uses is told with its place and with what was probably meant", () => {
  assert.deepEqual(
    lines(`run: a
listen: { http: 80, admin: 81 }
uses: [billing, Billing.Http, "mail:smtp", shop.web, 7, a.b, a.b, web.admin, web.http, "", a.b.c.d]
usess: []
environments:
  prod: { uses: billing.http }
`),
    [
      "skein.yaml:3:8: uses[0]: write a service of another app as app.process, for example billing.web",
      "skein.yaml:3:17: uses[1]: write a service of another app as app.process: did you mean billing.http?",
      "skein.yaml:3:31: uses[2]: write a service of another app as app.process: did you mean mail.smtp?",
      "skein.yaml:3:54: uses[4]: write text, not 7",
      "skein.yaml:3:88: uses[9]: write a service of another app as app.process, for example billing.http",
      "skein.yaml:3:92: uses[10]: write a service of another app as app.process, for example billing.http",
      "skein.yaml:4:1: usess: there is no key usess: did you mean uses?",
      'skein.yaml:6:17: environments.prod.uses: write a list, not "billing.http"',
    ],
  );
  assert.deepEqual(
    lines("run: a\nlisten: { http: 80, admin: 81 }\nuses: [shop.web, a.b, a.b, web.admin, web.http]\n"),
    [
      "skein.yaml:3:8: uses[0]: shop.web is this app's own, which finds it as web without uses",
      "skein.yaml:3:23: uses[2]: a.b is in the list already",
      "skein.yaml:3:28: uses[3]: web.admin is socket admin of this app's own process web already: rename one of the two",
    ],
  );
});

test("an environment lies over the rest, and only that one", () => {
  const text = `
run: node a.js
env: { A: one, B: two }
targets: role=web
environments:
  staging: { targets: env=staging, env: { B: three }, strategy: { type: all_at_once, bake: 0s } }
`;
  assert.equal(read(text).targets, "role=web");
  const staging = read(text, "staging");
  assert.equal(staging.targets, "env=staging");
  assert.deepEqual(staging.env, { A: "one", B: "three" });
  assert.equal(staging.strategy.type, "all_at_once");
  assert.equal(staging.strategy.bakeMs, 0);
  assert.match(refusal(text, "stagin").message, /no environment stagin: did you mean staging\?/);
  assert.match(refusal(text, "live").message, /no environment live, only [a-z, ]*staging/);
});

test("an environment speaks of processes where the rest has the short form", () => {
  const text = `
run: node a.js
listen: 8080
health: /up
environments:
  big: { processes: { web: { count: 3, env: { A: b } }, job: { run: b } } }
  odd: { listen: 9090, health: /ok, processes: { web: { count: 2 } } }
  bad: { processes: { web: { count: none } } }
`;
  const good = text.replace(/^  bad.*\n/m, "");
  const { web: plain } = read(good).processes;
  const { web, job } = read(good, "big").processes;
  assert.deepEqual(web, { ...plain, count: 3, env: { A: "b" } });
  assert.deepEqual([job?.run, job?.ready.check], [{ argv: ["b"] }, null]);
  const { web: odd } = read(good, "odd").processes;
  const { check } = odd?.ready ?? {};
  assert.deepEqual(
    [odd?.count, odd?.listen["http"]?.port, check],
    [2, 9090, { ...plain?.ready.check, path: "/ok" }],
  );
  assert.deepEqual(lines(text), [
    "skein.yaml:8:37: environments.bad.processes.web.count: write a whole number from 1 to 1000",
  ]);
  const both = lines(text.replace("node a.js", "node 'a.js").replace("none", "2"));
  assert.deepEqual(both, ["skein.yaml:2:6: run: a quote is left open in: node 'a.js"]);
  assert.deepEqual(lines("run: a\nenvironments: { e: { kind: files, environments: { f: {} } } }\n"), [
    "skein.yaml:2:22: environments.e.kind: kind is the same in every environment",
    "skein.yaml:2:35: environments.e.environments: environments is the same in every environment",
  ]);
});

test("an environment adds to a short form as to the full one", () => {
  const text = (environment: string): string => `
build: make
run: node a.js
listen: 8080
health: /up
verify: bin/smoke
hooks: { pre_jump: bin/warm }
environments: { e: { ${environment} } }
`;
  const plain = read(text(""));
  const { web } = plain.processes;
  assert.ok(web);
  const within = (environment: string): Manifest => read(text(environment), "e");
  const gap = within("listen: { http: { handover: gap } }").processes["web"]?.listen;
  assert.deepEqual(gap, { http: { ...web.listen["http"], handover: "gap" } });
  const more = within("listen: { admin: 8081 }").processes["web"]?.listen;
  assert.deepEqual(
    Object.entries(more ?? {}).map(([name, { port }]) => [name, port]),
    [
      ["http", 8080],
      ["admin", 8081],
    ],
  );
  const slow = within("health: { ready: { within: 60s } }").processes["web"]?.ready;
  assert.deepEqual(slow, { ...web.ready, withinMs: 60_000 });
  const other = within("health: { ready: { tcp: true } }").processes["web"]?.ready;
  assert.deepEqual(other?.check, { type: "tcp", socket: "http" });
  assert.deepEqual(within("build: { test: make test }").build, { ...plain.build, test: "make test" });
  assert.deepEqual(within("verify: { within: 5s }").verify, { ...plain.verify, withinMs: 5000 });
  const { pre_jump } = within("hooks: { pre_jump: { within: 1s } }").hooks;
  assert.deepEqual(pre_jump, { sh: "bin/warm", withinMs: 1000 });
  const inProcesses = read(
    "processes: { web: node a.js }\nenvironments: { e: { processes: { web: { count: 2 } } } }",
    "e",
  );
  assert.deepEqual([inProcesses.processes["web"]?.count, inProcesses.processes["web"]?.run], [2, web.run]);
  const replaced = within("listen: 9090, health: /ok").processes["web"];
  assert.deepEqual(
    [replaced?.listen["http"]?.port, replaced?.ready.check],
    [9090, { ...web.ready.check, path: "/ok" }],
  );
});

test("keys that start with x- are ignored wherever they stand", () => {
  const { processes } = read("x-a: { x: 1 }\nprocesses:\n  web: { run: a, x-note: [1], env: { x_no: 1 } }\n");
  assert.deepEqual(processes["web"]?.env, { x_no: "1" });
});

test("a process may be called env, and a variable x-ray", () => {
  const { processes, env } = read(
    "processes: { env: { run: a, x-note: b, env: { x_y: 1 } } }\nenv: { A: b }\n",
  );
  assert.deepEqual(processes["env"]?.env, { x_y: "1" });
  assert.deepEqual(env, { A: "b" });
  assert.match(lines("run: a\nenv: { x-ray: b }")[0] ?? "", /env\.x-ray: write a variable's name/);
});

test("numbers in an environment are the text that stands there", () => {
  const said =
    '{ A: 1.10, B: 12345678901234567890, C: 0o17, D: 010, E: +5, F: 1e3, G: 7, H: "1.10", I: true }';
  const same = {
    A: "1.10",
    B: "12345678901234567890",
    C: "0o17",
    D: "010",
    E: "+5",
    F: "1e3",
    G: "7",
    H: "1.10",
    I: "true",
  };
  assert.deepEqual(read(`run: a\nenv: ${said}\n`).env, same);
  assert.deepEqual(read(`x-all: &all ${said}\nrun: a\nenv: *all\n`).env, same);
  assert.deepEqual(read(`processes: { w: { run: a, env: ${said} } }`).processes["w"]?.env, same);
  const over = `run: a\nx-port: &port 8080.0\nlisten: *port\nenvironments: { e: { env: { P: *port, Q: 1.0 } } }\n`;
  assert.deepEqual(read(over, "e").env, { P: "8080.0", Q: "1.0" });
  assert.equal(read(over, "e").processes["web"]?.listen["http"]?.port, 8080);
});

test("each problem is named with its file, line and column, all at once, with what was meant", () => {
  assert.deepEqual(
    lines(`kindd: service
build: {files: a}
run: node dist/server.js | tee x
listen: 99999
health: {redy: /up}
verify: { run: bin/smoke, within: 60 }
drain: {}
environments:
  staging: { strategy: { type: all_at_onc } }
`),
    [
      "skein.yaml:1:1: kindd: there is no key kindd: did you mean kind?",
      'skein.yaml:2:16: build.files: write a list, not "a"',
      'skein.yaml:3:6: run: | needs a shell: write { sh: "node dist/server.js | tee x" }, or quote it',
      "skein.yaml:4:9: listen: write at most 65535",
      "skein.yaml:5:10: health.redy: there is no key redy: did you mean ready?",
      "skein.yaml:6:35: verify.within: write a duration with its unit, for example 30s, 500ms or 1m30s",
      "skein.yaml:7:1: drain: there is no key drain here: write it under processes, in the process it is for",
      'skein.yaml:9:32: environments.staging.strategy.type: write rolling or all_at_once, not "all_at_onc": did you mean all_at_once?',
    ],
  );
});

test("what needs a shell is told with what may be written in its place", () => {
  const short = "verify: a; b\nversion: a; b\nprocesses: { web: a; b }\n";
  const run = '{ run: { sh: "a; b" } }';
  const told = lines(short).map((line) => /write (.*), or quote it$/.exec(line)?.[1] ?? line);
  assert.deepEqual(told, [run, run, run]);
  const { verify, processes } = read(short.replaceAll("a; b", run));
  assert.deepEqual([verify?.run, processes["web"]?.run], [{ sh: "a; b" }, { sh: "a; b" }]);
});

test("what comes with a later version is refused by name", () => {
  const error = refusal(`
run: a
listen: { http: { port: 80, handover: router } }
routes: []
secrets: [A]
config: {}
hooks: { once: x }
strategy: { type: canary, steps: [], judge: {}, on_failure: pause }
build: { on: builder }
`);
  assert.equal(error.code, "MANIFEST_LATER");
  const problems = error.data["problems"] as PlacedProblem[];
  assert.deepEqual(problems.map(({ line, key }) => `${line} ${key}`).toSorted(), [
    "3 listen.http.handover",
    "4 routes",
    "5 secrets",
    "6 config",
    "7 hooks.once",
    "8 strategy.judge",
    "8 strategy.on_failure",
    "8 strategy.steps",
    "8 strategy.type",
    "9 build.on",
  ]);
  assert.equal(refusal("kind: secret").code, "MANIFEST_LATER");
  assert.equal(refusal("kind: servise\nroutes: []").code, "MANIFEST_INVALID");
});

const BAD: readonly (readonly [string, string, RegExp])[] = [
  ["broken YAML", "a: b: c", /skein\.yaml:1:4: Nested mappings/],
  ["a key twice", "run: a\nrun: b", /Map keys must be unique/],
  ["a list instead of keys", "- a", /write keys/],
  ["an unknown format", "skein: 2", /skein: write 1, not 2/],
  ["a bad app name", "app: My App", /app: write a name/],
  ["a bad process name", "processes: { Web: a }", /processes\.Web: write a name/],
  [
    "a list where text or keys go",
    "build: [a]",
    /^skein\.yaml:1:8: build: write text or a map of keys, not a list$/,
  ],
  [
    "what an environment takes away from under a check",
    "run: a\nlisten: 80\nhealth: /up\nenvironments: { e: { listen: { http: { protocol: udp } } } }",
    /^skein\.yaml:4:20: environments\.e: health\.ready: a UDP socket can be checked by run: COMMAND only$/,
  ],
  ["an empty command", 'run: ""', /run: the command is empty/],
  ["an open quote", "run: echo 'a", /a quote is left open/],
  ["run and processes", "run: a\nprocesses: { b: c }", /write either run or processes/],
  [
    "a socket without its name",
    "run: a\nlisten: { port: 80 }",
    /^skein\.yaml:2:11: listen\.port: a socket's keys stand under its name: listen: \{ http: \{ port/,
  ],
  [
    "a hand-over without its socket",
    "processes: { a: { run: b, listen: { http: 80, handover: gap } } }",
    /^skein\.yaml:1:47: processes\.a\.listen\.handover: a socket's keys stand under its name[^\n]*$/,
  ],
  ["listen without run", "listen: 80", /listen at the top goes with run/],
  ["a service that runs nothing", "kind: service", /nothing says what to run/],
  ["files that run", "kind: files\nrun: a", /runs nothing/],
  ["health without a socket", "run: a\nhealth: /up", /the http check needs a socket/],
  ["top health for nobody", "health: /up\nprocesses: { a: b }", /no process has an HTTP socket/],
  [
    "a check of UDP",
    "run: a\nlisten: { u: { port: 1, protocol: udp } }\nhealth: { ready: { tcp: true } }",
    /UDP/,
  ],
  [
    "two checks at once",
    "run: a\nlisten: 80\nhealth: { ready: { tcp: true, http: / } }",
    /one check at a time/,
  ],
  [
    "a check that checks nothing",
    "run: a\nlisten: 80\nhealth: { live: { every: 1s } }",
    /say what is checked/,
  ],
  ["an unknown socket", "run: a\nlisten: 80\nhealth: { ready: { http: /, socket: b } }", /no socket b/],
  ["a socket without port", "run: a\nlisten: { a: {} }", /a port is needed/],
  [
    "a unix socket with port",
    "run: a\nlisten: { a: { protocol: unix, path: a, port: 1 } }",
    /has a path and no port/,
  ],
  ["a unix socket without path", "run: a\nlisten: { a: { protocol: unix } }", /needs its path/],
  [
    "a path for TCP",
    "run: a\nlisten: { a: { protocol: tcp, port: 1, path: a } }",
    /path is for protocol: unix/,
  ],
  [
    "own ports with a shared one",
    "run: a\nlisten: { a: { port: 1, handover: port } }",
    /each instance its own port/,
  ],
  ["auto with gap", "run: a\nlisten: { a: { port: auto, handover: gap } }", /handover: gap does not/],
  [
    "gap with two instances",
    "processes: { a: { run: b, count: 2, listen: { a: { port: 1, handover: gap } } } }",
    /count must be 1/,
  ],
  [
    "one port twice",
    "processes: { a: { run: b, listen: 80 }, c: { run: d, listen: 80 } }",
    /port 80 is a\.http's already/,
  ],
  [
    "a circle of after",
    "processes: { a: { run: b, after: [c] }, c: { run: d, after: [a] } }",
    /wait for each other/,
  ],
  [
    "after nobody",
    "processes: { web: { run: b, after: [sy] }, say: c }",
    /no process sy: did you mean say\?/,
  ],
  [
    "a range that runs backwards",
    'run: a\nbuild: { files: [a, "[z-a].js"] }',
    /range in \[z-a\]\.js runs backwards/,
  ],
  ["a path that leaves", "run: a\nwritable: [../x]", /without \. or \.\./],
  ["a share without %", "strategy: { batch: 25 percent }", /a share such as 25%/],
  ["no nodes at a time", "strategy: { batch: 0 }", /batch: write at least 1/],
  ["more than all nodes", "strategy: { batch: 100.5% }", /a share such as 25%/],
  ["a bad selector", 'targets: "role="', /write a selector/],
  [
    "a selector that YAML takes for a tag",
    "run: a\ntargets: !env=prod role=web",
    /^skein\.yaml:2:10: YAML takes !env=prod for a tag: put the whole value in quotes$/,
  ],
  [
    "a glob that YAML takes for a tag",
    "build: { files: [dist/**, !dist/**/*.map] }",
    /^skein\.yaml:1:27: YAML takes !dist\/\*\*\/\*\.map for a tag/,
  ],
  ["bytes as YAML writes them", "run: !!binary aGk=", /^skein\.yaml:1:6: YAML takes !!binary for a tag/],
  [
    "another YAML",
    "%YAML 1.1\n---\nrun: a",
    /^skein\.yaml:1:1: a manifest is YAML 1\.2: leave out %YAML 1\.1$/,
  ],
  [
    "a selector that YAML takes for an alias",
    "run: a\ntargets: *web",
    /^skein\.yaml:2:10: YAML takes \*web for an alias: put the whole value in quotes$/,
  ],
  [
    "a count of none",
    "processes: { a: { run: b, count: 0 } }",
    /count: write a whole number from 1 to 1000$/,
  ],
  ["no processor", "processes: { a: { run: b, limits: { cpu: 0 } } }", /cpu: write a number above 0$/],
  ["a port in quotes", 'run: a\nlisten: "80"', /^skein\.yaml:2:9: listen: write a port, or sockets by name/],
  [
    "two sockets on one port, in the short form",
    "run: a\nlisten: { a: { port: 80 }, b: { port: 80 } }",
    /^skein\.yaml:2:31: listen\.b: port 80 is web\.a's already$/,
  ],
  [
    "an absolute path",
    "run: a\nwritable: [/x]",
    /^skein\.yaml:2:12: writable\[0\]: write a relative path[^\n]*$/,
  ],
  ["two documents", "run: a\n---\nrun: b", /^skein\.yaml:2:1: a manifest is one document: leave out/],
  ["a zero byte", 'run: [a, "b\\0"]', /^skein\.yaml:1:10: it holds a zero byte/],
  [
    "a process that objects lose",
    "processes: { __proto__: a }",
    /^skein\.yaml:1:14: nothing can be called __proto__/,
  ],
  [
    "a variable that objects lose",
    "run: a\nenv: { __proto__: b }",
    /^skein\.yaml:2:8: nothing can be called __proto/,
  ],
  [
    "a socket that objects lose",
    "x-a: &a __proto__\nrun: a\nlisten: { *a : 80 }",
    /^skein\.yaml:3:11: nothing can/,
  ],
  ["a key that is no word", "? { a: b }\n: c", /^skein\.yaml:1:3: a key is a word$/],
  [
    "lists in lists",
    `x-a: ${"[".repeat(70)}${"]".repeat(70)}`,
    /^skein\.yaml:1:\d+: it is nested more than 64 deep$/,
  ],
  [
    "no end of lists",
    `x-a: ${"[".repeat(9000)}${"]".repeat(9000)}`,
    /^skein\.yaml:1:\d+: it is nested too deep$/m,
  ],
  ["a time without end", `strategy: { bake: ${"9".repeat(400)}w }`, /bake: write at most 3650d$/],
  [
    "checks without a pause",
    "run: a\nlisten: 80\nhealth: { live: { tcp: true, every: 0s } }",
    /every: write more than 0s/,
  ],
  ["no time at all", "verify: { run: a, within: 0.1ms }", /within: write more than 0s/],
  ["no memory", "processes: { a: { run: b, limits: { memory: 0MiB } } }", /memory: write a size/],
  [
    "memory without end",
    `processes: { a: { run: b, limits: { memory: ${"9".repeat(400)}TiB } } }`,
    /memory: write a size/,
  ],
  [
    "a backoff that shrinks",
    "processes: { a: { run: b, restart: { backoff: 1m..1s } } }",
    /the first and the longest wait/,
  ],
  [
    "a backoff without range",
    "processes: { a: { run: b, restart: { backoff: 1s } } }",
    /the first and the longest wait/,
  ],
  [
    "an app name per environment",
    "environments: { prod: { app: b } }",
    /app is the same in every environment/,
  ],
  [
    "uses of a process, of its own app",
    "processes: { a: { run: b, uses: [shop.c] } }",
    /^skein\.yaml:1:34: processes\.a\.uses\[0\]: shop\.c is this app's own/,
  ],
  ["uses where nothing runs", "uses: [a.b]", /^skein\.yaml:1:1: uses: nothing runs here/],
  ["a variable of Skein's", "env: { SKEIN_APP: a }", /set by Skein itself/],
];

for (const [name, text, pattern] of BAD) {
  test(`refused: ${name}`, () => {
    const error = refusal(text);
    assert.match(error.message, pattern);
    assert.equal(error.code, "MANIFEST_INVALID");
    assert.equal(error.exit, 2);
  });
}

test("a refusal says which app it is about, where that is beyond doubt", () => {
  const about = (text: string): unknown => refusal(text).data["app"];
  assert.equal(about("app: web\nrun: [\nhealth: /up"), "web");
  assert.equal(about("app: web\nhealht: /up"), "web");
  assert.equal(about("healht: /up"), "shop", "as its folder is called");
  assert.equal(about("app: Web"), undefined);
  assert.equal(about("run: a: b\nhealth: /up"), undefined, "what cannot be read may name it");
});

test("an alias bomb and an alias of nothing are refused, not expanded", () => {
  const levels = Array.from({ length: 9 }, (_, i) => `x-${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
  assert.match(lines(["x-0: &a0 [1,1,1,1,1,1,1,1,1]", ...levels].join("\n"))[0] ?? "", /alias/);
  assert.match(lines("run: *a")[0] ?? "", /alias/);
});

const name = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/);
const word = fc.stringMatching(/^[A-Za-z0-9./-]{1,8}$/);
const duration = fc.integer({ min: 1, max: 10_000_000 }).map((ms) => `${ms}ms`);
const share = fc.integer({ min: 1, max: 100 }).map((n) => `${n}%` as const);
/** Never the app's own, whose name has no dash here. */
const service = fc.tuple(name, name).map(([app, process]) => `other-${app}.${process}`);
const optional = { requiredKeys: [] };
const process_ = fc.record(
  {
    run: fc.oneof(word, fc.array(word, { minLength: 1, maxLength: 3 }), fc.record({ sh: word })),
    overlap: fc.boolean(),
    count: fc.integer({ min: 1, max: 5 }),
    listen: fc.constant({ a: "auto" }),
    health: fc.record({ ready: fc.record({ tcp: fc.constant(true), every: duration }) }),
    drain: fc.record({ window: duration, within: duration }, optional),
    limits: fc.record(
      { memory: fc.integer({ min: 1, max: 4096 }).map((n) => `${n}MiB`), cpu: fc.constant(0.5) },
      optional,
    ),
    env: fc.dictionary(name, fc.oneof(fc.string(), fc.integer(), fc.boolean())),
    uses: fc.uniqueArray(service),
  },
  { requiredKeys: ["run", "listen"] },
);
const anyManifest = fc.record(
  {
    app: name,
    processes: fc.dictionary(name, process_, { minKeys: 1 }),
    build: fc.oneof(
      word,
      fc.record({ run: word, test: word, files: fc.array(word, { minLength: 1 }) }, optional),
    ),
    verify: fc.record({ run: word, within: duration, threshold: fc.constant(0.5) }),
    hooks: fc.record({ post_sync: word, pre_jump: fc.record({ run: word, within: duration }) }, optional),
    strategy: fc.record(
      { batch: fc.oneof(share, fc.integer({ min: 1, max: 9 })), max_absent: share, bake: duration },
      optional,
    ),
    beside: fc.oneof(fc.constant("all"), fc.nat({ max: 9 })),
    keep: fc.record({ releases: fc.integer({ min: 1, max: 9 }), free_disk: share }, optional),
    stage_on_push: fc.constantFrom("main", "release/1.x"),
    writable: fc.array(name),
  },
  optional,
);

test("what every object inherits is a name like any other", () => {
  const { processes, env } = read(`
processes:
  constructor: { run: a, listen: { constructor: 80 }, after: [web] }
  web: b
env: { constructor: c, toString: d }
environments: { constructor: { env: { constructor: e } } }
`);
  assert.deepEqual(Object.keys(processes), ["constructor", "web"]);
  assert.deepEqual(Object.keys(processes["constructor"]?.listen ?? {}), ["constructor"]);
  assert.deepEqual(env, { constructor: "c", toString: "d" });
});

const UNWORKABLE: readonly [what: string, text: string, says: RegExp][] = [
  [
    "two sockets of a process with one variable",
    "run: a\nlisten: { a-b: 80, a_b: 81 }",
    /^skein\.yaml:2:20: listen\.a_b: web\.a_b and web\.a-b would share the variable SKEIN_ADDRESS_A_B: rename/,
  ],
  [
    "sockets of two processes that verify would take for each other",
    "processes:\n  web: { run: a, listen: { a-b: 80 } }\n  api: { run: a, listen: { a_b: 81 } }",
    /^skein\.yaml:3:28: processes\.api\.listen\.a_b: api\.a_b and web\.a-b would share/,
  ],
  [
    "a socket that is called like another with its process",
    "processes:\n  api: { run: a, listen: { http: 80 } }\n  web: { run: a, listen: { api-http: 81 } }",
    /web\.api-http and api\.http would share the variable SKEIN_ADDRESS_API_HTTP/,
  ],
  [
    "a unix socket of two processes",
    "processes:\n  a: { run: a, listen: { s: { protocol: unix, path: x } } }\n  b: { run: a, listen: { s: { protocol: unix, path: x } } }",
    /^skein\.yaml:3:53: processes\.b\.listen\.s\.path: x is a\.s's already$/,
  ],
  [
    "hand-overs that exclude each other",
    "run: a\nlisten: { a: { port: 80, handover: gap }, b: 81 }",
    /^skein\.yaml:2:9: listen: handover gap of a and auto of b exclude each other: give all/,
  ],
  [
    "both ways of passing a socket",
    "run: a\nlisten: { a: { port: 80, handover: node }, b: { port: 81, handover: socket } }",
    /handover node of a and socket of b exclude each other/,
  ],
  [
    "older versions beside one that is alone",
    "processes: { a: { run: b, overlap: false } }\nbeside: 1",
    /^skein\.yaml:2:9: beside: a may not run in two versions at once \(overlap: false\): leave out beside/,
  ],
  [
    "older versions beside one that binds its port itself, in one environment",
    "run: a\nlisten: { a: { port: 80, handover: gap } }\nenvironments: { prod: { beside: all } }",
    /^skein\.yaml:3:33: environments\.prod\.beside: web may not run in two versions at once \(handover: gap\)/,
  ],
  [
    "more passes than there is time for",
    "run: a\nlisten: 80\nhealth: { ready: { http: /up, every: 10s, passes: 4, within: 30s } }",
    /^skein\.yaml:3:18: health\.ready: it could never be ready within 30s: 4 passes, one every 10s, take 30s$/,
  ],
  [
    "a unix socket that no system takes",
    `run: a\nlisten: { a: { path: ${"x".repeat(92)} } }`,
    /^skein\.yaml:2:22: listen\.a\.path: write at most 91 bytes: no socket's path is longer$/,
  ],
  [
    "a writable folder that is Skein's own",
    "run: a\nwritable: [tmp, .skein/x]",
    /^skein\.yaml:2:17: writable\[1\]: no release has such a path: \.skein is reserved$/,
  ],
  ["nothing but blanks", 'run: { sh: " " }', /^skein\.yaml:1:6: run: the command is empty$/],
  [
    "a path that no request can have",
    'run: a\nlisten: 80\nhealth: { ready: { tcp: true }, live: "/a b" }',
    /^skein\.yaml:3:39: health\.live\.http: "\/a b" cannot be asked for: write it as a request has it: \/a%20b$/,
  ],
  [
    "a share that is no node",
    "run: a\nstrategy: { batch: 0%, max_unavailable: 0.00% }",
    /^skein\.yaml:2:20: strategy\.batch: 0% is no node: write .*\n.*:2:41: strategy\.max_unavailable: 0\.00% is no node/,
  ],
  [
    "a limit that is never reached",
    "processes: { a: { run: b, restart: { limit: 5 in 0s } } }",
    /^skein\.yaml:1:45: processes\.a\.restart\.limit: nothing crashes within 0s: write how often/,
  ],
  [
    "less time than it has to live",
    "processes: { a: { run: b, health: { ready: { within: 5s } } } }",
    /^skein\.yaml:1:44: processes\.a\.health\.ready: it could never be ready within 5s: without a check or a socket it takes 5s$/,
  ],
];

for (const [what, text, says] of UNWORKABLE) {
  test(`${what}: refused where a release is made, and no reason not to run one that is there`, () => {
    const options = { file: "skein.yaml", env: "default", app: "shop" };
    assert.throws(() => parseManifest(text, { ...options, isNew: true }), { message: says });
    assert.equal(parseManifest(text, options).kind, "service");
  });
}

test("an environment is not called like what is passed over: its keys would count for nothing", () => {
  const text = "run: a\nenvironments: { x-prod: { env: { A: b } }, x-shared: 1 }";
  const options = { file: "skein.yaml", env: "x-prod", app: "shop" };
  assert.throws(() => parseManifest(text, { ...options, isNew: true }), {
    message:
      /^skein\.yaml:2:17: environments\.x-prod: keys that begin with x- are passed over: give the environment/,
  });
  assert.deepEqual(parseManifest(text, options).env, {}, "one that is there runs as it did");
  for (const env of ["default", "x-other"])
    assert.deepEqual(parseManifest(text, { ...options, env, isNew: true }).env, {});
});

test("what may be together is", () => {
  const text = `
processes:
  web: { run: a, listen: { http: 80, own: { port: auto }, node: { port: 81, handover: node } } }
  api: { run: a, listen: { http: 82 }, health: { ready: { tcp: true, every: 10s, passes: 4, within: 31s } } }
  job: { run: a, health: { ready: { within: 6s } } }
  one: { run: a, overlap: false, listen: { s: { port: 83, handover: gap }, own: { port: auto } } }
environments: { test: { beside: 0 } }
`;
  const { processes } = parseManifest(text, { file: "skein.yaml", env: "test", app: "shop", isNew: true });
  assert.deepEqual(Object.keys(processes), ["web", "api", "job", "one"]);
});

test("an argument may be empty, a program not", () => {
  for (const run of ['node a.js ""', '[node, a.js, ""]']) {
    const manifest = read(`run: ${run}`);
    assert.deepEqual(manifest.processes["web"]?.run, { argv: ["node", "a.js", ""] });
    assert.deepEqual(read(stringify(manifestWords(manifest))), manifest);
  }
  for (const run of [`"'' a"`, '["", a]', "[]"])
    assert.match(refusal(`run: ${run}`).message, /^skein\.yaml:1:6: run: the command is empty$/);
});

test("expanding what was expanded changes nothing", () => {
  fc.assert(
    fc.property(anyManifest, (raw) => {
      const manifest = read(stringify(raw));
      assert.deepEqual(read(stringify(manifestWords(manifest))), manifest);
      assert.deepEqual(JSON.parse(JSON.stringify(manifest)), manifest);
    }),
    { numRuns: 60 },
  );
});

test("no text at all makes it fail otherwise than by saying what is wrong", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json().map((json) => `run: ${json}`),
      ),
      (text) => {
        try {
          read(text);
        } catch (err) {
          assert.ok(err instanceof SkeinError && err.code.startsWith("MANIFEST_"), String(err));
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("of very many problems the first hundred are told, and a text that would take long to read is refused", () => {
  const keys = (many: number): string => Array.from({ length: many }, (_, n) => `zz${n}: 1\n`).join("");
  const told = lines(keys(250));
  assert.equal(told.length, 101);
  assert.match(told[99] ?? "", /^skein\.yaml:100:1: zz99: /);
  assert.equal(told[100], "skein.yaml: and 150 more problems");
  assert.match(refusal(keys(8000)).message, /larger than 64 KiB/);
});

test("processes that wait for each other are named, and not those on the way between such groups", () => {
  const text = Object.entries({ a: "b", b: "a", c: "b", d: "c", e: "[d, f]", f: "e", g: "g" })
    .map(([name, after]) => `  ${name}: { run: x, after: ${after.startsWith("[") ? after : `[${after}]`} }\n`)
    .join("");
  assert.deepEqual(
    lines(`processes:\n${text}`).map((line) => line.replace(/^.*\]: /, "")),
    [
      "a and b wait for each other",
      "b and a wait for each other",
      "e and f wait for each other",
      "f and e wait for each other",
      "g and g wait for each other",
    ],
  );
});

test("more environments or processes than anybody has are refused before they are read", () => {
  const many = (count: number, value: string): string =>
    Array.from({ length: count }, (_, n) => `  x${n}: ${value}\n`).join("");
  assert.equal(Object.keys(read(`processes:\n${many(256, "run")}`).processes).length, 256);
  assert.match(refusal(`processes:\n${many(257, "run")}`).message, /processes: write at most 256/);
  const shared = `x-all: &all\n${many(257, "run")}run: a\nenvironments: { e: { processes: *all } }\n`;
  assert.match(refusal(shared).message, /processes: write at most 256/);
  assert.match(refusal(`run: a\nenvironments:\n${many(65, "{}")}`).message, /environments: write at most 64/);
});
