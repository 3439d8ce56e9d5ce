import fs from "node:fs/promises";
import path from "node:path";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { RunAs } from "./command.ts";
import type { AppUsers } from "./users.ts";

/** What stands in the place of a shell where nobody is to log in. */
const NO_SHELL: ReadonlySet<string> = new Set(["nologin", "false", "sync", "shutdown", "halt"]);

/**
 * Who an app runs as. `auto` is a uid of its own where the agent is root, and the agent's own user elsewhere. A name
 * needs root, and the right `root:app/env` where it is root's, or leads there.
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
  if (!mayRoot) refuseMighty(user, app, found);
  return { uid: found.uid, gid: found.gid };
}

/**
 * Root, root's group, and people: who may write what they log in with (`.ssh/authorized_keys`, `.profile`) is one of them
 * soon, with all that they may do, such as `sudo`.
 * @throws SkeinError NOT_AUTHORISED
 */
function refuseMighty(user: string, app: string, { uid, gid, shell }: Account): void {
  const isRoots = uid === 0 || gid === 0;
  if (!isRoots && NO_SHELL.has(path.basename(shell))) return;
  const who = isRoots ? user : `${user}, who can log in`;
  throw new SkeinError(
    "NOT_AUTHORISED",
    `${app} asks to run as ${who}, and no signer of the order may grant it`,
    {
      hint: `Sign with a key that has the scope root:APP/ENV${isRoots ? "" : `, or run on the node: usermod -s /usr/sbin/nologin ${user}`}.`,
      data: { app, user },
    },
  );
}

interface Account extends RunAs {
  readonly shell: string;
}

async function userNamed(name: string): Promise<Account | undefined> {
  const text = await fs.readFile("/etc/passwd", "utf8");
  for (const line of text.split("\n")) {
    // Where nothing stands last, it is /bin/sh.
    const [found, , uid = "", gid = "", , , shell = ""] = line.split(":");
    if (found === name && /^\d+$/.test(uid) && /^\d+$/.test(gid))
      return { uid: Number(uid), gid: Number(gid), shell };
  }
  return undefined;
}
