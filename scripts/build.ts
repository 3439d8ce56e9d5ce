/**
 * Makes dist/skein-<version>.tgz, which `npm i -g` installs on any machine with Node 20 or newer: bundled programs,
 * two shell launchers, and the packaged Node 26 as the only dependency.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build, type BuildOptions, type Plugin } from "esbuild";
import { lazyBuiltins, noLocales } from "./bundling.ts";

const root = path.resolve(import.meta.dirname, "..");
/** `node scripts/build.ts [FOLDER]`: emptied first. */
const out = path.resolve(process.argv[2] ?? path.join(root, "dist"));
const stage = path.join(out, "package");
const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));

/** commander starts programs only for commands that are programs of their own; none of ours is, and help is there sooner. */
const noSubprograms: Plugin = {
  name: "no-subprograms",
  setup(esbuild) {
    esbuild.onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      /[\\/]commander[\\/]/.test(importer) ? { path: "none", namespace: "no-subprograms" } : undefined,
    );
    esbuild.onLoad({ filter: /./, namespace: "no-subprograms" }, () => ({ contents: "export default {};" }));
  },
};

/** AWS's chain of credentials is as large as all of Skein's commands: a file of its own, for those who need it. */
const awsApart: Plugin = {
  name: "aws-apart",
  setup(esbuild) {
    esbuild.onResolve({ filter: /[\\/]aws-chain\.ts$/ }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "./aws-chain.mjs", external: true } : undefined,
    );
  },
};

/** The verbs of deploying alone: what is read and compiled at each start is half of all commands. */
const deployingOnly: Plugin = {
  name: "deploying-only",
  setup(esbuild) {
    esbuild.onResolve({ filter: /[\\/]groups\.ts$/ }, ({ resolveDir }) => ({
      path: path.join(resolveDir, "deploy-group.ts"),
    }));
  },
};

/** Help in one file: what a verb does is loaded when it is done, which here it never is. */
const namesOnly: Plugin = {
  name: "names-only",
  setup(esbuild) {
    esbuild.onResolve({ filter: /^\.{1,2}\// }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "./commands.cjs", external: true } : undefined,
    );
  },
};

const PLUGINS = [noSubprograms, lazyBuiltins, noLocales, awsApart];
const COMMON = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node26",
  legalComments: "none",
  minifyWhitespace: true,
  minifySyntax: true,
} satisfies BuildOptions;

rmSync(out, { recursive: true, force: true });
mkdirSync(path.join(stage, "dist"), { recursive: true });
await bundle({ "aws-chain": "src/depot/s3/aws-chain.ts" }, true);
const digests = {
  commands: await program("src/cli/main.ts", "commands"),
  deploy: await program("src/cli/main.ts", "deploy", [deployingOnly]),
  help: await program("src/cli/main.ts", "help", [namesOnly]),
  "git-remote": await program("src/cli/git-remote-main.ts", "git-remote"),
};
for (const name of ["skein", "git-remote-skein"]) writeEntry(name);
await bundle({ keeper: "src/keeper/main.ts" }, false);
const apart = {
  "delta-maker": "src/release/delta/maker.ts",
  "delta-worker": "src/release/delta/encode-worker.ts",
};
await bundle(apart, true);
await bundle({ "placing-worker": "src/release/install/placing-worker.ts" }, false);
cpSync(path.join(root, "src/keeper/preload"), path.join(stage, "dist/preload"), { recursive: true });
copyLaunchers();
for (const file of ["README.md", "LICENSE", "CHANGELOG.md"])
  copyFileSync(path.join(root, file), path.join(stage, file));
cpSync(path.join(root, "examples"), path.join(stage, "examples"), { recursive: true });
writePackageJson();
const tarball = execFileSync("npm", ["pack", "--silent", "--pack-destination", out], {
  cwd: stage,
  encoding: "utf8",
}).trim();
console.log(path.relative(process.cwd(), path.join(out, tarball)));

function writeEntry(name: string): void {
  const entry = readFileSync(path.join(root, "scripts/entry.mjs"), "utf8");
  const own = entry.replace("DIGESTS = {}", `DIGESTS = ${JSON.stringify(digests)}`);
  writeFileSync(path.join(stage, `dist/${name}.mjs`), own);
}

/** A program in one file, as a function that the entry calls. @returns its digest */
async function program(file: string, name: string, plugins: readonly Plugin[] = []): Promise<string> {
  const outfile = path.join(stage, `dist/${name}.cjs`);
  await build({
    ...COMMON,
    entryPoints: [file],
    outfile,
    format: "cjs",
    charset: "ascii", // so that it is read, and held, as one byte for each character
    banner: { js: "(function (exports, require, module, __filename, __dirname) {" },
    footer: { js: "})" },
    plugins: [...plugins, ...PLUGINS],
    define: {
      "import.meta.main": "false",
      "import.meta.dirname": "__dirname",
      "import.meta.filename": "__filename",
    },
  });
  return createHash("sha256").update(readFileSync(outfile)).digest("hex");
}

async function bundle(entryPoints: Record<string, string>, inParts: boolean): Promise<void> {
  await build({
    ...COMMON,
    entryPoints,
    outdir: path.join(stage, "dist"),
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunk-[hash]",
    splitting: inParts,
    format: "esm",
    plugins: [...PLUGINS],
    // Some dependencies are CommonJS and call require() for Node's own modules.
    banner: {
      js: 'const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);',
    },
  });
}

function copyLaunchers(): void {
  mkdirSync(path.join(stage, "bin"));
  for (const name of ["skein", "git-remote-skein"]) {
    const target = path.join(stage, "bin", name);
    copyFileSync(path.join(root, "bin", name), target);
    chmodSync(target, 0o755);
  }
}

function writePackageJson(): void {
  const { name, version, description, license, bin, engines, optionalDependencies } = manifest;
  const packageJson = {
    name,
    version,
    description,
    license,
    type: "module",
    bin,
    engines,
    optionalDependencies,
  };
  writeFileSync(path.join(stage, "package.json"), `${JSON.stringify(packageJson, undefined, 2)}\n`);
}
