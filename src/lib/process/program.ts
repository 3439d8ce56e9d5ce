import path from "node:path";

/** What is started, preloaded or copied on its own, as they lie in a checkout and in the built package. */
const FILES = {
  cli: { checkout: "../../../bin/skein.mjs", built: "skein.mjs" },
  deltaMaker: { checkout: "../../release/delta/maker.ts", built: "delta-maker.mjs" },
  deltaWorker: { checkout: "../../release/delta/encode-worker.ts", built: "delta-worker.mjs" },
  examples: { checkout: "../../../examples", built: "../examples" },
  keeper: { checkout: "../../keeper/main.ts", built: "keeper.mjs" },
  placingWorker: { checkout: "../../release/install/placing-worker.ts", built: "placing-worker.mjs" },
  preload: { checkout: "../../keeper/preload", built: "preload" },
} as const;

/** In a checkout this module is `src/lib/process/program.ts`; in the package it is part of a bundle that lies beside the files. */
const inCheckout = import.meta.filename.endsWith(".ts");
/** `npm test` has built the package: its programs start in a fifth of the time that a checkout's take. */
const tested = inCheckout ? process.env["SKEIN_TEST_PACKAGE"] : undefined;

/** Absolute path of one of Skein's own programs, or of its examples. */
export function programFile(name: keyof typeof FILES): string {
  const { checkout, built } = FILES[name];
  if (tested !== undefined) return path.join(tested, "dist", built);
  return path.resolve(import.meta.dirname, inCheckout ? checkout : built);
}
