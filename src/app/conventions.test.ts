import assert from "node:assert/strict";
import { test } from "node:test";
import { appNameFrom, manifestOfTree, refuseUnread, type TreeReader } from "./conventions.ts";
import type { Manifest } from "./manifest.ts";

type Files = Readonly<Record<string, string | { readonly text: string; readonly executable: true }>>;

const tree = (files: Files): TreeReader => ({
  list: async () =>
    Object.entries(files).map(([name, file]) => ({
      name,
      kind: "file",
      executable: typeof file !== "string",
    })),
  read: async (name) => {
    const file = files[name];
    return typeof file === "object" ? file.text : file;
  },
});

const program = { text: "#!/bin/sh\n", executable: true } as const;

async function of(files: Files): Promise<Manifest> {
  return await manifestOfTree(tree(files), { app: "My App", env: "default" });
}

test("package.json with a start script runs npm start with a port of its own", async () => {
  const { processes, app } = await of({ "package.json": '{"scripts":{"start":"node x"}}', "server.js": "" });
  assert.equal(app, "my-app");
  assert.deepEqual(processes["web"]?.run, { argv: ["npm", "start"] });
  assert.equal(processes["web"]?.listen["http"]?.handover, "port");
});

test("server.js runs under node", async () => {
  const { processes } = await of({ "package.json": "{}", "server.js": "" });
  assert.deepEqual(processes["web"]?.run, { argv: ["node", "server.js"] });
});

test("a single executable runs, without a socket that it may not take", async () => {
  const { processes, kind } = await of({ ser$ver: program });
  assert.equal(kind, "service");
  assert.deepEqual(processes["web"]?.run, { argv: ["./ser$$ver"] });
  assert.deepEqual(processes["web"]?.listen, {});
});

test("anything else is kept as files", async () => {
  for (const files of [{}, { "a.txt": "" }, { a: program, b: program }]) {
    assert.equal((await of(files)).kind, "files");
  }
});

test("hooks are found by their files' names, and the manifest's own win", async () => {
  const files = { "post-sync.sh": program, "un-jump.sh": "echo bye", "pre-remove.sh": "x" };
  const { hooks, kind } = await of(files);
  assert.equal(kind, "files");
  assert.deepEqual(hooks, {
    post_sync: { sh: "./post-sync.sh", withinMs: 60_000 },
    un_jump: { sh: "sh ./un-jump.sh", withinMs: 60_000 },
    pre_remove: { sh: "sh ./pre-remove.sh", withinMs: 60_000 },
  });
  const own = await of({ ...files, "skein.yaml": "hooks: { un_jump: bin/leave }" });
  assert.equal(own.hooks.un_jump?.sh, "bin/leave");
  assert.equal(own.hooks.post_sync?.sh, "./post-sync.sh");
});

test("a manifest that does not say what runs leaves it to the conventions, its own port wins", async () => {
  const { processes } = await of({ "skein.yaml": "listen: 8080\nhealth: /up", "server.js": "" });
  assert.equal(processes["web"]?.listen["http"]?.port, 8080);
  const files = await of({ "skein.yaml": "kind: files", "server.js": "" });
  assert.deepEqual(files.processes, {});
});

test("a package.json that is no JSON is an error, not another convention", async () => {
  const files = { "package.json": "{", "server.js": "" };
  await assert.rejects(of(files), { code: "MANIFEST_INVALID", hint: /say in skein\.yaml what to run/ });
  const said = await of({ ...files, "skein.yaml": "run: node server.js\n" });
  assert.deepEqual(said.processes["web"]?.run, { argv: ["node", "server.js"] });
  assert.equal((await of({ ...files, "skein.yaml": "kind: files\n" })).kind, "files");
  await assert.rejects(of({ ...files, "skein.yaml": "run: npm start\n" }), { code: "MANIFEST_INVALID" });
});

test("any name becomes an allowed one", () => {
  assert.equal(appNameFrom("My App_2"), "my-app-2");
  assert.equal(appNameFrom("0-9.web-"), "web");
  assert.equal(appNameFrom("x".repeat(60)).length, 39);
});

test("a link in the manifest's place is refused: not everybody who reads a release follows it", async () => {
  const files = tree({ "server.js": "" });
  const link = { name: "skein.yaml", kind: "link", executable: false } as const;
  const linked = { ...files, list: async () => [...(await files.list()), link] };
  const refusal = { code: "MANIFEST_INVALID", message: "skein.yaml is a link, which is not read" };
  await assert.rejects(refuseUnread(linked), refusal);
});

test("a manifest under another name is refused, and not left unread", async () => {
  for (const name of ["skein.yml", "Skein.yaml", ".skein.yaml"]) {
    const refusal = { code: "MANIFEST_INVALID", hint: `Rename it: git mv ${name} skein.yaml` };
    await assert.rejects(refuseUnread(tree({ [name]: "run: a\n", "server.js": "" })), refusal);
    await refuseUnread(tree({ [name]: "", "skein.yaml": "run: a\n" }));
  }
  await refuseUnread(tree({ "server.js": "", "skein.yaml.md": "", "my-skein.yml": "" }));
});
