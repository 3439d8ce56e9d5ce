import path from "node:path";

/** Where `skein` and `git-remote-skein` are started from: what `npm test` has built starts in a fifth of the checkout's time. */
const root = process.env["SKEIN_TEST_PACKAGE"] ?? path.resolve(import.meta.dirname, "../../..");

/** `skein`, as a person types it. */
export const LAUNCHER = path.join(root, "bin/skein");
