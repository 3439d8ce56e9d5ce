/** What tools are looked for in that run before rights are given up. */
const SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
/** Nothing that starts programs heeds these, and running processes are known by them. */
const HARMLESS = /^SKEIN_/;

/** An environment that is put on only after rights were given up. */
export interface Carried {
  /** For what runs before. */
  readonly env: Record<string, string>;
  /** For a POSIX shell: puts the rest on. */
  readonly script: string;
}

/**
 * Programs that give rights up (`setpriv`, and what leads to it) still have them when they are loaded: an `LD_PRELOAD`
 * or a `PATH` of the app's would have them run what the app likes. So variables travel under names that mean nothing.
 */
export function carriedEnv(env: Readonly<Record<string, string>>): Carried {
  const all = Object.entries(env);
  const carried = all.filter(([name]) => !HARMLESS.test(name));
  const names = carried.map((_, n) => `SKEIN_CARRIED_${n}`);
  return {
    env: {
      PATH: SYSTEM_PATH,
      ...Object.fromEntries(all.filter(([name]) => HARMLESS.test(name))),
      ...Object.fromEntries(carried.map(([name, value], n) => [names[n] ?? "", `${name}=${value}`])),
    },
    // `command`: a name that this shell keeps to itself is passed over, and ends nothing.
    script: [
      "unset PATH",
      ...names.map((name) => `command export "$${name}" 2>/dev/null; unset ${name}`),
    ].join("\n"),
  };
}
