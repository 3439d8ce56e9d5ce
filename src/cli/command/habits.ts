/** What other tools call what is called so here. A near name would lead astray: `destroy` is near `deploy`. */
const HABITS: Readonly<Record<string, string>> = {
  ...ofAll("ps top info details", "status"),
  ...ofAll("apps services", "list"),
  ...ofAll("nodes servers hosts", "node ls"),
  ...ofAll("history versions", "releases"),
  ...ofAll("revert undo back", "rollback"),
  ...ofAll("log tail", "logs"),
  ...ofAll("destroy remove rm delete down undeploy kill", "stop"),
  ...ofAll("redeploy ship run", "deploy"),
  ...ofAll("setup bootstrap new", "init, or skein up for this machine alone"),
  ...ofAll("server", "hub"),
  ...ofAll("join", "agent --join"),
  "node list": "node ls",
  "node add": "node invite",
  ...ofAll("remove delete", "node rm", "node "),
  ...ofAll("status info", "node show", "node "),
};

/** @param words a verb that is none, with those above it: `ps`, `node list`. @returns the hint, where its like is known */
export function habitHint(words: string): string | undefined {
  const here = Object.hasOwn(HABITS, words) ? HABITS[words] : undefined;
  return here === undefined ? undefined : `Here that is skein ${here}. skein --help lists all.`;
}

function ofAll(words: string, here: string, above = ""): Record<string, string> {
  return Object.fromEntries(words.split(" ").map((word) => [`${above}${word}`, here]));
}
