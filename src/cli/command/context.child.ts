/** `node context.child.ts GLOBALS SIGNAL [COMMAND MS]`: a command that is under way when it is cut short, by the signal after so long, and has ordered something by then. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { runBody, type Globals } from "./context.ts";

const signalName = process.argv[3] as NodeJS.Signals | "ask" | undefined;
const globals = JSON.parse(process.argv[2] ?? "{}") as Globals;
const [name = "deploy", afterMs = "0"] = process.argv.slice(4);
process.exitCode = await runBody(name, globals, async (context) => {
  const { signal } = context;
  const waits = setInterval(() => undefined, 1000);
  if (afterMs !== "0") await sleep(Number(afterMs));
  if (signalName === "ask") process.stderr.write("type the name to go on: ");
  else if (signalName !== undefined) process.kill(process.pid, signalName);
  if (!signal.aborted) await once(signal, "abort"); // a short time may be over before
  clearInterval(waits);
  if (globals.detach === true) context.comeBack("Look there.");
  throw signal.reason;
});
