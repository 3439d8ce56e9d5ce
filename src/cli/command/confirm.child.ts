/** `node confirm.child.ts [GLOBALS]`: a command that destroys `web1`, and says so. */
import { confirmName } from "./confirm.ts";
import { runBody, type Globals } from "./context.ts";

const globals = JSON.parse(process.argv[2] ?? "{}") as Globals;
process.exitCode = await runBody("rm", globals, async (context) => {
  await confirmName(context, "This ends node web1", "web1");
  context.io.print("it is gone");
  return {};
});
