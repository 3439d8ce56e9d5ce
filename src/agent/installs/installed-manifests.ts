import { MANIFEST_FILE, manifestOfTree } from "../../app/conventions.ts";
import type { Manifest } from "../../app/manifest.ts";
import { folderReader } from "../../app/tree-readers.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { AppEnv } from "../../lib/text/ids.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";

export interface ManifestRules {
  /** Nothing is run here but hooks: a tree that only looks like a service is taken as files. */
  readonly filesOnly?: boolean;
  /** Runs in place of every service release's own processes (propagit's `-- CMD`). */
  readonly command: readonly string[] | undefined;
}

/** Of so many installs: an agent may see thousands before it is started again. */
const MANIFESTS_KEPT = 256;

/** What the releases that are installed here say of themselves, as this node takes it. */
export class InstalledManifests {
  readonly #rules: ManifestRules;
  readonly #nodeName: () => string;
  /** By environment and folder: what is installed never changes. The one used longest ago goes first. */
  readonly #kept = new Map<string, Manifest>();

  constructor(rules: ManifestRules, nodeName: () => string) {
    this.#rules = rules;
    this.#nodeName = nodeName;
  }

  /**
   * @param dir of one release
   * @throws SkeinError MANIFEST_INVALID, MANIFEST_LATER, NEEDS_AGENT
   */
  async of({ app, env }: AppEnv, dir: string): Promise<Manifest> {
    const key = `${env} ${dir}`;
    const manifest = this.#kept.get(key) ?? (await this.#read(app, env, dir));
    keepNewest(this.#kept, MANIFESTS_KEPT, key, manifest);
    return manifest;
  }

  /** What lay there may have been read while it was another. */
  forget(dir: string): void {
    for (const key of this.#kept.keys()) {
      if (key.endsWith(` ${dir}`)) this.#kept.delete(key);
    }
  }

  async #read(app: string, env: string, dir: string): Promise<Manifest> {
    const tree = folderReader(dir);
    const manifest = await manifestOfTree(tree, { app, env });
    const { command, filesOnly } = this.#rules;
    if (filesOnly === true) return asFiles(manifest, (await tree.read(MANIFEST_FILE)) !== undefined);
    // A tree without a manifest says nothing of its kind; one that says `kind: files` is left alone.
    const isFiles = manifest.kind === "files" && (await tree.read(MANIFEST_FILE)) !== undefined;
    if (command === undefined || isFiles) return manifest;
    const processes = await ownCommand(command, { app, env }, this.#nodeName());
    return { ...manifest, kind: "service", processes };
  }
}

/** The agent's own command as the only process, named like the node, with a port of its own. */
async function ownCommand(
  command: readonly string[],
  { app, env }: AppEnv,
  nodeName: string,
): Promise<Manifest["processes"]> {
  const { parseManifest } = await import("../../app/parse.ts");
  const name = nodeName.replaceAll(/[^a-z0-9-]/g, "-");
  const argv = command.map((word) => word.replaceAll("$", "$$$$"));
  const convention = { processes: { [name]: { run: argv, listen: { [name]: { port: "auto" } } } } };
  return parseManifest("", { file: "the agent's own command", env, app, convention }).processes;
}

/** @throws SkeinError NEEDS_AGENT when the manifest itself asks for processes */
function asFiles(manifest: Manifest, isSaid: boolean): Manifest {
  if (manifest.kind !== "service") return manifest;
  if (!isSaid) return { ...manifest, kind: "files", processes: {} };
  throw new SkeinError("NEEDS_AGENT", `${manifest.app} runs processes, and only files are placed here`, {
    data: { app: manifest.app, processes: Object.keys(manifest.processes) },
  });
}
