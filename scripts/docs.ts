/** Writes the documents that are made from code; `--check` only says which of them are stale. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { manifestJsonSchema } from "../src/app/json-schema.ts";
import { cliProgram } from "../src/cli/cli-program.ts";
import { VERSION } from "../src/cli/command/version.ts";
import { openApiDocument } from "../src/api/openapi.ts";
import { ERROR_CODES } from "../src/lib/errors/error-codes.ts";

const root = path.resolve(import.meta.dirname, "..");
const checkOnly = process.argv.includes("--check");

const documents: Record<string, () => string | Promise<string>> = {
  "docs/errors.md": errorsPage,
  "docs/commands.md": commandsPage,
  "docs/skein.schema.json": () => jsonText(manifestJsonSchema()),
  "docs/openapi.json": () => jsonText(openApiDocument(VERSION)),
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
    "Made from `src/lib/errors/error-codes.ts` by `npm run docs`. A code never changes its meaning; scripts may match it.",
    'With `--json` a failing command ends with `{"type":"result","ok":false,"error":{"code":…}}`.',
    "",
    ...rows,
  ].join("\n");
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function commandsPage(): string {
  const program = cliProgram(() => undefined);
  return [
    "# Commands",
    "",
    "Made from the command line's own grammar by `npm run docs`; `skein COMMAND --help` prints the same.",
    "",
    ...flagLines("Flags of every command", program),
    "`SKEIN_APP`, `SKEIN_ENV` and so on mirror these flags, all but `--yes`; for colours `NO_COLOR` counts. What `--json` prints is told in [scripts and CI](how-to/ci.md).",
    "",
    ...shown(program).flatMap((command) => commandLines(command, "skein")),
  ].join("\n");
}

function commandLines(command: Command, parent: string): string[] {
  const name = `${parent} ${command.name()}`;
  const words = command.registeredArguments.map((one) => {
    const dots = one.variadic ? "..." : "";
    return one.required ? ` <${one.name()}${dots}>` : ` [${one.name()}${dots}]`;
  });
  const aliases = command.aliases().map((alias) => `, also \`${parent} ${alias}\``);
  const text = command.description();
  return [
    `## ${name}`,
    "",
    `\`${name}${words.join("")}\`${aliases.join("")}`,
    "",
    `${text.charAt(0).toUpperCase()}${text.slice(1)}.`,
    "",
    ...command.registeredArguments
      .filter(({ description }) => description !== "")
      .map((one) => `- \`${one.name()}\`: ${one.description}`),
    ...(command.registeredArguments.some(({ description }) => description !== "") ? [""] : []),
    ...flagLines("Flags", command),
    ...shown(command).flatMap((sub) => commandLines(sub, name)),
  ];
}

/** Without those that only programs type, and without `help`. */
function shown(command: Command): Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((sub) => sub.name() !== "help");
}

function flagLines(title: string, command: Command): string[] {
  if (command.options.length === 0) return [];
  const rows = command.options.map(
    ({ flags, description, defaultValue }) =>
      `| \`${flags.replaceAll("|", "\\|")}\` | ${description}${defaultText(defaultValue)} |`,
  );
  return [`${title}:`, "", "| flag | meaning |", "|---|---|", ...rows, ""];
}

/** As --help says it. */
function defaultText(value: unknown): string {
  return typeof value === "string" ? ` (default: ${value})` : "";
}
