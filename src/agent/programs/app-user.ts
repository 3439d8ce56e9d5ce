import fs from "node:fs/promises";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { RunAs } from "./command.ts";
import type { AppUsers } from "./users.ts";

/**
 * Who an app runs as. `auto` is a uid of its own where the agent is root, and the agent's own user elsewhere. A name
 * needs root, and the name `root` (or any other of uid 0) the right `root:app/env`.
 * @throws SkeinError USER_REFUSED, NOT_AUTHORISED
 */
export async function appUser(
  user: string,
  app: string,
  users: AppUsers,
  mayRoot: boolean,
): Promise<RunAs | undefined> {
  if (user === "auto") return await users.of(app);
  if ((await users.of(app)) === undefined) {
    throw new SkeinError("USER_REFUSED", `${app} asks for the user ${user}, and this agent is not root`, {
      data: { app, user },
    });
  }
  const found = await userNamed(user);
  if (found === undefined) {
    throw new SkeinError(
      "USER_REFUSED",
      `${app} asks for the user ${user}, whom this machine does not know`,
      {
        data: { app, user },
      },
    );
  }
  if (found.uid === 0 && !mayRoot) {
    throw new SkeinError(
      "NOT_AUTHORISED",
      `${app} asks to run as root, and no signer of the order may grant it`,
      {
        hint: "Sign with a key that has the scope root:APP/ENV.",
        data: { app, user },
      },
    );
  }
  return found;
}

async function userNamed(name: string): Promise<RunAs | undefined> {
  const text = await fs.readFile("/etc/passwd", "utf8");
  for (const line of text.split("\n")) {
    const [found, , uid = "", gid = ""] = line.split(":");
    if (found === name && /^\d+$/.test(uid) && /^\d+$/.test(gid))
      return { uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}
