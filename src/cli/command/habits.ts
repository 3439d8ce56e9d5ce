/** What other tools call what is called so here. A near name would lead astray: `destroy` is near `deploy`. */
const HABITS: Readonly<Record<string, string>> = {
  ...ofAll("ps top info details", "status"),
  ...ofAll("apps services", "list"),
  ...ofAll("nodes servers hosts", "node ls"),
  ...ofAll("history versions", "releases"),
  ...ofAll("revert undo back", "rollback"),
  ...ofAll("log tail", "logs"),
  ...ofAll("destroy remove rm delete down undeploy kill", "stop"),
  ...ofAll("redeploy ship run apply", "deploy"),
  ...ofAll("diff preview", "plan"),
  ...ofAll("open url", "ports"),
  ...ofAll("setup bootstrap new", "init, or skein up for this machine alone"),
  ...ofAll("server", "hub"),
  ...ofAll("join", "agent --join"),
  "node list": "node ls",
  "node add": "node invite",
  ...ofAll("remove delete", "node rm", "node "),
  ...ofAll("status info", "node show", "node "),
};

/** What other tools have, and this one does not: the nearest that there is. */
const ABSENT: Readonly<Record<string, string>> = {
  ...ofAll(
    "exec ssh shell console",
    "Nothing is run on nodes by hand: skein logs APP shows what an app prints.",
  ),
  ...ofAll(
    "secret secrets vault config",
    "Settings and secrets are files on the node: docs/how-to/environments.md.",
  ),
  ...ofAll("scale", "Say count: in skein.yaml, and deploy."),
  ...ofAll("doctor health", "skein status shows what runs, skein drift what differs from what was ordered."),
  ...ofAll("upgrade update self", "Skein itself is replaced by npm: docs/operations.md, Upgrading Skein."),
};

/** @param words a verb that is none, with those above it: `ps`, `node list`. @returns the hint, where its like is known */
export function habitHint(words: string): string | undefined {
  const here = Object.hasOwn(HABITS, words) ? HABITS[words] : undefined;
  if (here !== undefined) return `Here that is skein ${here}. skein --help lists all.`;
  return Object.hasOwn(ABSENT, words) ? ABSENT[words] : undefined;
}

function ofAll(words: string, here: string, above = ""): Record<string, string> {
  return Object.fromEntries(words.split(" ").map((word) => [`${above}${word}`, here]));
}
