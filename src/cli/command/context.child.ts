/** `node context.child.ts GLOBALS`: a command that is under way when it is cut short, and has ordered something by then. */
import { once } from "node:events";
import { runBody, type Globals } from "./context.ts";

const globals = JSON.parse(process.argv[2] ?? "{}") as Globals;
process.exitCode = await runBody("deploy", globals, async (context) => {
  const { signal } = context;
  const waits = setInterval(() => undefined, 1000);
  if (globals.timeout === undefined) process.kill(process.pid, "SIGINT");
  await once(signal, "abort");
  clearInterval(waits);
  if (globals.detach === true) context.comeBack("Look there.");
  throw signal.reason;
});
