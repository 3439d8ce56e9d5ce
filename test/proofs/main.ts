/**
 * `npm run prove -- NAME [ARGS...]`: proofs that need more of a machine than the suite may ask for (time, root, a
 * second root file system, block devices). Each prints what it saw, and exits non-zero when something did not hold.
 */
const PROOFS: Readonly<Record<string, () => Promise<Proof>>> = {
  chaos: async () => (await import("./chaos.ts")).chaos,
  install: async () => (await import("./install.ts")).install,
  "power-cut": async () => (await import("./power-cut.ts")).powerCut,
};

/** @param say one line for people */
export type Proof = (
  args: readonly string[],
  say: (line: string) => void,
  signal: AbortSignal,
) => Promise<void>;

const [name = "", ...args] = process.argv.slice(2);
const load = PROOFS[name];
if (load === undefined) {
  console.error(`prove: one of ${Object.keys(PROOFS).join(", ")}`);
  process.exit(2);
}
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
try {
  await (
    await load()
  )(args, (line) => console.log(`${name}: ${line}`), stop.signal);
  console.log(`${name}: proved`);
} catch (err) {
  console.error(err);
  process.exitCode = 1;
}
