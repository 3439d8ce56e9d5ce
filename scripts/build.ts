/**
 * Makes dist/skein-<version>.tgz, which `npm i -g` installs on any machine with Node 20 or newer: bundled programs,
 * two shell launchers, and the packaged Node 26 as the only dependency.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";

const root = path.resolve(import.meta.dirname, "..");
/** `node scripts/build.ts [FOLDER]`: emptied first. */
const out = path.resolve(process.argv[2] ?? path.join(root, "dist"));
const stage = path.join(out, "package");
const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));

rmSync(out, { recursive: true, force: true });
mkdirSync(path.join(stage, "dist"), { recursive: true });
await bundle({ main: "src/cli/main.ts", "git-remote-skein": "src/cli/git-remote-main.ts" });
const entry = readFileSync(path.join(root, "bin/skein.mjs"), "utf8");
writeFileSync(path.join(stage, "dist/skein.mjs"), entry.replace("../src/cli/main.ts", "./main.mjs"));
await bundle({ keeper: "src/keeper/main.ts" });
copyFileSync(path.join(root, "src/keeper/preload.cjs"), path.join(stage, "dist/preload.cjs"));
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

async function bundle(entryPoints: Record<string, string>): Promise<void> {
  await build({
    entryPoints,
    absWorkingDir: root,
    outdir: path.join(stage, "dist"),
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunk-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node26",
    legalComments: "none",
    minifyWhitespace: true,
    minifySyntax: true,
    // Some dependencies are CommonJS and call require() for Node's own modules.
    banner: {
      js: 'import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);',
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
