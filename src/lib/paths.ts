import os from "node:os";
import path from "node:path";

/**
 * Where things are on this machine (DESIGN section 5). `SKEIN_HOME` moves all four under one folder,
 * which is how tests, the demo and many agents on one machine live side by side.
 */
export interface Paths {
  /** Identity, pinned charter. */
  readonly etc: string;
  /** State, chunks, `apps/<app>/revs/<id>`. */
  readonly lib: string;
  /** Keeper socket, secrets. Kept short: a unix socket's path has at most 107 bytes. */
  readonly run: string;
  /** `<app>/` log folders. */
  readonly log: string;
}

export function pathsFrom(env: NodeJS.ProcessEnv, uid: number = process.getuid?.() ?? 1): Paths {
  const home = env["SKEIN_HOME"];
  if (home !== undefined && home !== "") return under(path.resolve(home));
  if (uid === 0) {
    return { etc: "/etc/skein", lib: "/var/lib/skein", run: "/run/skein", log: "/var/log/skein" };
  }
  const user = os.homedir();
  const xdg = (name: string, fallback: string): string =>
    path.join(env[name] ?? path.join(user, fallback), "skein");
  return {
    etc: xdg("XDG_CONFIG_HOME", ".config"),
    lib: xdg("XDG_DATA_HOME", ".local/share"),
    run: xdg("XDG_RUNTIME_DIR", ".local/state/run"),
    log: path.join(xdg("XDG_STATE_HOME", ".local/state"), "log"),
  };
}

function under(home: string): Paths {
  return {
    etc: path.join(home, "etc"),
    lib: path.join(home, "lib"),
    run: path.join(home, "run"),
    log: path.join(home, "log"),
  };
}
