/** Writes the documents that are made from code; `--check` only says which of them are stale. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ERROR_CODES } from "../src/lib/error-codes.ts";

const root = path.resolve(import.meta.dirname, "..");
const checkOnly = process.argv.includes("--check");

const documents: Record<string, () => string | Promise<string>> = {
  "docs/errors.md": errorsPage,
};

const stale: string[] = [];
for (const [file, make] of Object.entries(documents)) {
  const text = await make();
  const target = path.join(root, file);
  if (readOrEmpty(target) === text) continue;
  stale.push(file);
  if (checkOnly) continue;
  mkdirSync(path.dirname(target), { recursive: true });
  writeFileSync(target, text);
  console.log(`wrote ${file}`);
}
if (checkOnly && stale.length > 0) {
  console.error(`stale: ${stale.join(", ")}; run npm run docs`);
  process.exit(1);
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function errorsPage(): string {
  const rows = Object.entries(ERROR_CODES)
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([code, { exit, meaning, mend }]) => `## ${code}\n\n${meaning} Exit code ${exit}.\n\n${mend}\n`);
  return [
    "# Error codes",
    "",
    "Made from `src/lib/error-codes.ts` by `npm run docs`. A code never changes its meaning; scripts may match it.",
    'With `--json` a failing command ends with `{"type":"result","ok":false,"error":{"code":…}}`.',
    "",
    ...rows,
  ].join("\n");
}
