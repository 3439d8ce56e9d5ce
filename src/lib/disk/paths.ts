import os from "node:os";
import path from "node:path";
import { SkeinError } from "../errors/errors.ts";

/**
 * Where things are on this machine (docs/operations.md). `SKEIN_HOME` moves all four under one folder,
 * which is how tests, the demo and many agents on one machine live side by side.
 */
export interface Paths {
  /** Identity, pinned charter. */
  readonly etc: string;
  /** State, chunks, `apps/<app>/revs/<id>`. */
  readonly lib: string;
  /** The keeper's socket, and apps' own. Kept short: a unix socket's path has at most 107 bytes. */
  readonly run: string;
  /** `<app>/` log folders. */
  readonly log: string;
}

/** @throws SkeinError USAGE where nothing says which folder is the user's */
export function pathsFrom(env: NodeJS.ProcessEnv, uid: number = process.getuid?.() ?? 1): Paths {
  const home = env["SKEIN_HOME"];
  if (home !== undefined && home !== "") return under(path.resolve(home));
  if (uid === 0) {
    return { etc: "/etc/skein", lib: "/var/lib/skein", run: "/run/skein", log: "/var/log/skein" };
  }
  const user = homeOf(env);
  const xdg = (name: string, fallback: string): string => {
    const told = env[name] ?? "";
    // As XDG has it: what is empty or relative does not count.
    return path.join(path.isAbsolute(told) ? told : path.join(user, fallback), "skein");
  };
  return {
    etc: xdg("XDG_CONFIG_HOME", ".config"),
    lib: xdg("XDG_DATA_HOME", ".local/share"),
    run: xdg("XDG_RUNTIME_DIR", ".local/state/run"),
    log: path.join(xdg("XDG_STATE_HOME", ".local/state"), "log"),
  };
}

function homeOf(env: NodeJS.ProcessEnv): string {
  const told = env["HOME"] ?? "";
  if (told !== "") return path.resolve(told);
  try {
    return os.userInfo().homedir; // os.homedir gives an empty HOME back
  } catch (err) {
    throw new SkeinError("USAGE", "this user has no home folder", {
      hint: "Set HOME, or SKEIN_HOME to a folder for all that is Skein's.",
      cause: err,
    });
  }
}

function under(home: string): Paths {
  return {
    etc: path.join(home, "etc"),
    lib: path.join(home, "lib"),
    run: path.join(home, "run"),
    log: path.join(home, "log"),
  };
}
