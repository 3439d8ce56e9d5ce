import path from "node:path";

const ROOT = path.resolve(import.meta.dirname, "../../..");
const built = process.env["SKEIN_TEST_PACKAGE"];

/** What a program of the tests is called where it is built, beside what ships. @param file from the root */
export const builtChild = (file: string): string =>
  `${file.slice(0, -".ts".length).replaceAll("/", "-")}.mjs`;

/**
 * A program that tests start, and often kill: `*.child.ts`. `npm test` has built all of them, which start in a third of
 * the time; for a file of tests that is run by itself it is the source.
 * @param words as for path.join
 */
export function childProgram(...words: readonly string[]): string {
  const file = path.join(...words);
  return built === undefined ? file : path.join(built, "dist", builtChild(path.relative(ROOT, file)));
}
