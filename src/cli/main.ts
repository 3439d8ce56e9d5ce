import { CommanderError } from "commander";
import { SkeinError } from "../lib/errors.ts";
import { cliProgram } from "./cli-program.ts";
import { processIo } from "./io.ts";
import { VERSION } from "./version.ts";

const LINGER_MS = 1000;
/** As shells tell of a program that SIGPIPE ended. */
const READER_GONE = 128 + 13;

/**
 * Whoever reads the result may have seen enough (`| head`): that ends the command, and is no crash. Whoever reads what
 * is said besides may be gone, too: servers outlive it.
 */
function endWithReader(): void {
  const unlessGone = (then: () => void) => (err: NodeJS.ErrnoException) => {
    if (err.code !== "EPIPE") throw err;
    then();
  };
  process.stdout.on(
    "error",
    unlessGone(() => process.exit(READER_GONE)),
  );
  process.stderr.on(
    "error",
    unlessGone(() => undefined),
  );
}

/** The words before the verb: `--version` there is the tool's, after it a value. */
function versionAsked(words: readonly string[]): boolean {
  for (const word of words) {
    if (word === "--version" || word === "-V") return true;
    if (!word.startsWith("-")) return false;
  }
  return false;
}

async function main(words: readonly string[]): Promise<number> {
  if (versionAsked(words)) {
    process.stdout.write(`skein ${VERSION}\n`);
    return 0;
  }
  let exit = 0;
  const program = cliProgram((code) => {
    exit = code;
  });
  try {
    await program.parseAsync([...words], { from: "user" });
    return exit;
  } catch (err) {
    if (!(err instanceof CommanderError)) return await report(words, err);
    if (err.exitCode === 0) return 0;
    // Help that nobody asked for was printed already: a verb is missing.
    return err.code === "commander.help" ? 2 : await report(words, misread(err));
  }
}

/** What commander could not read, as every other failure looks. */
function misread({ message }: CommanderError): SkeinError {
  const [what = "", ...more] = message.replace(/^error: /, "").split("\n");
  const suggestion = more.join(" ").replace(/^\((.*)\)$/, "$1");
  return new SkeinError("USAGE", what, suggestion === "" ? {} : { hint: suggestion });
}

async function report(words: readonly string[], err: unknown): Promise<number> {
  const { reportError } = await import("./report-error.ts");
  const json = words.includes("--json") || process.env["SKEIN_JSON"] !== undefined;
  return reportError(processIo({ json, verbose: words.includes("--verbose") }), err);
}

endWithReader();
process.exitCode = await main(process.argv.slice(2));
// Whatever a failed command left open must not keep its caller waiting; the timer itself keeps nobody.
setTimeout(() => process.exit(), LINGER_MS).unref();
