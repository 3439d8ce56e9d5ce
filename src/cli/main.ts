import { beginSnapshot } from "./snapshot/begin.ts";
import { start } from "./start.ts";

await start();
if (process.argv[2] === "deploy" && process.exitCode === 0) beginSnapshot();
