import { SkeinError } from "../lib/errors/errors.ts";
import { HOOK_NAMES, type Manifest, type Process } from "./manifest.ts";

export const MANIFEST_FILE = "skein.yaml";

/** The few things of a tree that decide what it is; a folder, a commit and an installed release each give them. */
export interface TreeReader {
  /** What stands at the top. */
  list(): Promise<readonly TopEntry[]>;
  /** Text of a file at the top, or undefined when there is none. */
  read(name: string): Promise<string | undefined>;
}

export interface TopEntry {
  readonly name: string;
  readonly kind: "file" | "directory" | "link";
  readonly executable: boolean;
}

export interface TreeOptions {
  /** The app's name where the manifest gives none. */
  readonly app: string;
  readonly env: string;
  /** How messages call the manifest. Default `skein.yaml`. */
  readonly file?: string;
  /** A release of it is yet to be made: what could not work is refused, too. Default false. */
  readonly isNew?: boolean;
}

/**
 * What a tree says that it is: its `skein.yaml`, and for what that leaves open the conventions:
 * `package.json` with a start script runs `npm start`, else `server.js` runs under node, both with a port of their own
 * each; a single executable file runs; hooks are found by their files' names. Anything else is kept as it is.
 * @throws SkeinError MANIFEST_INVALID, MANIFEST_LATER
 */
export async function manifestOfTree(tree: TreeReader, options: TreeOptions): Promise<Manifest> {
  const entries = await tree.list();
  const text = entries.some(({ name }) => name === MANIFEST_FILE)
    ? await tree.read(MANIFEST_FILE)
    : undefined;
  const hooks = hooksByName(entries);
  const { unread, ...found } = await runnable(tree, entries);
  const convention = { ...found, ...(hooks === undefined ? {} : { hooks }) };
  // YAML and the manifest's schema are large: an agent without an app does not hold them.
  const { parseManifest } = await import("./parse.ts");
  const manifest = parseManifest(text ?? "", {
    file: options.file ?? MANIFEST_FILE,
    env: options.env,
    app: appNameFrom(options.app) || "app",
    convention,
    isNew: options.isNew ?? false,
  });
  if (unread !== undefined && Object.values(manifest.processes).some(isNpmStart)) throw unread;
  return manifest;
}

const NPM_START = ["npm", "start"];

const isNpmStart = ({ run }: Process): boolean => "argv" in run && run.argv.join(" ") === NPM_START.join(" ");

const MISNAMED = /^\.?skein\.ya?ml$/i;

/**
 * Whoever wrote `skein.yml`, or has a link in its place, means it to be read: without it the app would run by
 * conventions, on all nodes. Only where a release is made; one that is there runs as it always did.
 * @throws SkeinError MANIFEST_INVALID
 */
export async function refuseUnread(tree: TreeReader): Promise<void> {
  const entries = await tree.list();
  const named = entries.find(({ name }) => name === MANIFEST_FILE);
  if (named !== undefined && named.kind !== "file") {
    throw new SkeinError("MANIFEST_INVALID", `${MANIFEST_FILE} is a ${named.kind}, which is not read`, {
      hint: `Put the manifest itself there, as a file.`,
      data: { file: MANIFEST_FILE },
    });
  }
  const names = entries.map(({ name }) => name);
  const wrong = names.find((name) => MISNAMED.test(name));
  if (wrong === undefined || names.includes(MANIFEST_FILE)) return;
  throw new SkeinError("MANIFEST_INVALID", `${wrong} is not read: the manifest is called ${MANIFEST_FILE}`, {
    hint: `Rename it: git mv ${wrong} ${MANIFEST_FILE}`,
    data: { file: wrong },
  });
}

interface Runnable {
  readonly run?: readonly string[];
  readonly listen?: "auto";
  /** Why nobody can tell whether `npm start` is what runs: of no matter where the manifest runs something else. */
  readonly unread?: SkeinError;
}

async function runnable(tree: TreeReader, entries: readonly TopEntry[]): Promise<Runnable> {
  const file = (name: string): boolean =>
    entries.some((entry) => entry.name === name && entry.kind === "file");
  const npm = file("package.json") ? npmStart((await tree.read("package.json")) ?? "") : undefined;
  if (npm !== undefined) return npm;
  if (file("server.js")) return { run: ["node", "server.js"], listen: "auto" };
  const [only, ...others] = entries.filter(({ name }) => name !== MANIFEST_FILE);
  const single = only !== undefined && others.length === 0 && only.kind === "file" && only.executable;
  return single ? { run: [`./${only.name.replaceAll("$", "$$$$")}`] } : {};
}

function npmStart(text: string): Runnable | undefined {
  const start = { run: NPM_START, listen: "auto" } as const;
  try {
    const data: unknown = JSON.parse(text);
    const scripts = typeof data === "object" && data !== null && "scripts" in data ? data.scripts : null;
    return typeof scripts === "object" && scripts !== null && "start" in scripts ? start : undefined;
  } catch {
    const message = "package.json is not JSON, so its start script cannot be found";
    const unread = new SkeinError("MANIFEST_INVALID", message, {
      hint: `Mend it, or say in ${MANIFEST_FILE} what to run.`,
      data: { file: "package.json" },
    });
    return { ...start, unread };
  }
}

function hooksByName(entries: readonly TopEntry[]): Record<string, string> | undefined {
  const found = HOOK_NAMES.flatMap((hook): [string, string][] => {
    const file = `${hook.replace("_", "-")}.sh`;
    const entry = entries.find(({ name, kind }) => name === file && kind === "file");
    if (entry === undefined) return [];
    return [[hook, entry.executable ? `./${file}` : `sh ./${file}`]];
  });
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

/** The nearest allowed name: `My App_2` becomes `my-app-2`. Empty when nothing is left of it. */
export function appNameFrom(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+/, "")
    .slice(0, 39)
    .replace(/-+$/, "");
}
