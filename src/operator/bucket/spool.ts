import fs from "node:fs/promises";
import path from "node:path";
import { packageOfFile, revisionOf } from "../../bucket/layout.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Tell } from "../tell/events.ts";
import { toBeDone } from "../tell/dry-run.ts";
import { openAsked } from "../deploy/resolve-wish.ts";
import type { BucketOperator } from "./bucket-operator.ts";
import { writeFtlRevision } from "./ftl-layout.ts";
import { releaseToBucket } from "./bucket-releases.ts";
import { tellFtlActive } from "./master.ts";

export interface Spooled {
  /** As the file was called. */
  readonly package: string;
  readonly app: string;
  readonly revision: string;
  readonly release: ReleaseId;
  /** The same content had been spooled before: it is the same revision. */
  readonly already: boolean;
}

export interface SpoolOptions {
  readonly env: string;
  /** `ftl`: also as FTL's own clients read it. */
  readonly layout: "skein" | "ftl";
  readonly tell: Tell;
  readonly signal: AbortSignal;
}

/**
 * Makes a revision of a file: an archive is its entries, anything else is kept as it is. The package is the file's name
 * up to the first dot. Nothing is activated.
 * @throws SkeinError USAGE, SOURCE_NOT_FOUND, ARCHIVE_REFUSED, TREE_REFUSED, MANIFEST_*, and what the bucket throws
 */
export async function spool(operator: BucketOperator, file: string, options: SpoolOptions): Promise<Spooled> {
  const { env, layout, tell, signal } = options;
  if (layout === "ftl") await refuseFolder(file);
  const { name, app } = packageOfFile(path.basename(path.resolve(file)));
  const origin = { kind: "path", path: file } as const;
  await using opened = await openAsked(operator, origin, { env, app, tell, signal });
  const { source } = opened;
  const { place, already } = await releaseToBucket(operator, { app, source, tell, signal });
  const revision = revisionOf(place);
  const asFtl = () => ({
    text: `${name}.${revision} would be written as FTL's own clients read it`,
    data: { deed: "layout", layout, package: name, revision },
  });
  if (layout === "ftl" && toBeDone(operator, asFtl)) {
    const written = { file, package: name, revision };
    const isAnyActive = await writeFtlRevision(operator.bucket.files, written, signal);
    const lacking = isAnyActive ? null : await tellFtlActive(operator, { app, env }, signal);
    if (lacking !== null) tell({ type: "note", text: notForFtl(`${name}.${lacking}`) });
  }
  return { package: name, app, revision, release: place.id, already };
}

/** Before anything is published: they read files alone. */
async function refuseFolder(file: string): Promise<void> {
  const stat = await fs.stat(file).catch(() => undefined);
  if (stat?.isDirectory() !== true) return;
  throw new SkeinError("USAGE", `${file} is a folder, which FTL's own clients cannot have`, {
    hint: "Spool an archive of it: tar czf PACKAGE.tgz -C FOLDER .",
    data: { path: file },
  });
}

const notForFtl = (active: string): string =>
  `${active} is active, and FTL's own clients cannot have it: spool its file with --layout ftl, too`;
