/**
 * Makes dist/skein-<version>.tgz, which `npm i -g` installs on any machine with Node 20 or newer: bundled programs,
 * two shell launchers, and the packaged Node 26 as the only dependency.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build, type Plugin } from "esbuild";
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
      kind === "dynamic-import" ? { path: "./main.mjs", external: true } : undefined,
    );
  },
};

rmSync(out, { recursive: true, force: true });
mkdirSync(path.join(stage, "dist"), { recursive: true });
await bundle({ "aws-chain": "src/depot/s3/aws-chain.ts" }, true);
/** In parts: of a verb that is not done its help is there at once. */
await bundle({ main: "src/cli/main.ts" }, true);
const inParts = 'has("help", "--help", "-h", "--version", "completion")';
/** In one file: a command would load some 90 of the parts, a server 110: a quarter of its start, and 6 MiB of its life. */
await bundle({ commands: "src/cli/main.ts", "git-remote-main": "src/cli/git-remote-main.ts" }, false);
const help =
  'process.argv.length < 3 || (process.argv.length === 3 && has("help", "--help", "-h", "--version"))';
await bundle({ help: "src/cli/main.ts" }, false, [namesOnly]);
await bundle({ deploy: "src/cli/main.ts" }, false, [deployingOnly]);
const inOne = 'process.argv[2] === "deploy" ? "./deploy.mjs" : "./commands.mjs"';
writeEntry("skein", `${help} ? "./help.mjs" : ${inParts} ? "./main.mjs" : ${inOne}`);
writeEntry("git-remote-skein", '"./git-remote-main.mjs"');
await bundle({ keeper: "src/keeper/main.ts" }, false);
const apart = {
  "delta-maker": "src/release/delta/maker.ts",
  "delta-worker": "src/release/delta/encode-worker.ts",
};
await bundle(apart, true);
await bundle({ "placing-worker": "src/release/install/placing-worker.ts" }, false);
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

/** The entry of a checkout, with the bundled program in place of the source. */
function writeEntry(program: string, imported: string): void {
  const entry = readFileSync(path.join(root, "bin/skein.mjs"), "utf8");
  writeFileSync(path.join(stage, `dist/${program}.mjs`), entry.replace('"../src/cli/main.ts"', imported));
}

async function bundle(
  entryPoints: Record<string, string>,
  inParts: boolean,
  plugins: readonly Plugin[] = [],
): Promise<void> {
  await build({
    entryPoints,
    absWorkingDir: root,
    outdir: path.join(stage, "dist"),
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunk-[hash]",
    bundle: true,
    splitting: inParts,
    format: "esm",
    platform: "node",
    target: "node26",
    legalComments: "none",
    minifyWhitespace: true,
    minifySyntax: true,
    plugins: [...plugins, noSubprograms, lazyBuiltins, noLocales, awsApart],
    // Programs are imported by an entry that turns on the compile cache first.
    define: { "import.meta.main": "true" },
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
