import { CommanderError } from "commander";
import { cliProgram } from "./cli-program.ts";
import { VERSION } from "./version.ts";

const LINGER_MS = 1000;

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
    if (!(err instanceof CommanderError)) throw err;
    // commander has printed help or what is wrong.
    return err.exitCode === 0 ? 0 : 2;
  }
}

process.exitCode = await main(process.argv.slice(2));
// Whatever a failed command left open must not keep its caller waiting; the timer itself keeps nobody.
setTimeout(() => process.exit(), LINGER_MS).unref();
