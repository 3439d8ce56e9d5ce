/**
 * What `node --build-snapshot` runs: the program that deploys, warmed up. What is in memory when this comes to its end
 * is what a `skein deploy` begins with; see snapshot/make.ts.
 */
import { startupSnapshot } from "node:v8";
import { run, start } from "./start.ts";
import { standIns } from "./snapshot/stand-ins.ts";
import { warmUp } from "./snapshot/warm-up.ts";

async function main(): Promise<void> {
  const takeAway = await standIns();
  await warmUp(process.cwd(), run);
  takeAway();
  startupSnapshot.setDeserializeMainFunction(() => void start());
}

main().catch((err: unknown) => {
  console.error(err);
  process.exit(1);
});
