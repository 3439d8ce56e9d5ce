/** `node context.child.ts GLOBALS SIGNAL`: a command that is under way when it is cut short, and has ordered something by then. */
import { once } from "node:events";
import { runBody, type Globals } from "./context.ts";

const signalName = process.argv[3] as NodeJS.Signals | "ask" | undefined;
const globals = JSON.parse(process.argv[2] ?? "{}") as Globals;
process.exitCode = await runBody("deploy", globals, async (context) => {
  const { signal } = context;
  const waits = setInterval(() => undefined, 1000);
  if (signalName === "ask") process.stderr.write("type the name to go on: ");
  else if (signalName !== undefined) process.kill(process.pid, signalName);
  if (!signal.aborted) await once(signal, "abort"); // a short time may be over before
  clearInterval(waits);
  if (globals.detach === true) context.comeBack("Look there.");
  throw signal.reason;
});
