import type { z } from "zod";
import type { bytesBySource } from "../../api/field-schemas.ts";
import type { RolloutView } from "../../api/schemas.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import type { Release } from "../../trust/document/documents.ts";
import type { Doer } from "./dry-run.ts";

/** What a changing command tells while it works. The same objects are printed as lines of `--json`. */
export type OperatorEvent =
  | { readonly type: "note"; readonly text: string }
  | { readonly type: "warning"; readonly text: string; readonly code?: string }
  | { readonly type: "output"; readonly line: string }
  | {
      readonly type: "publishing";
      readonly files: number;
      readonly filesTotal: number;
      readonly storedBytes: number;
    }
  | {
      readonly type: "release";
      readonly app: string;
      readonly release: ReleaseId;
      readonly commit: string | null;
      readonly already: boolean;
      readonly files: number;
      readonly bytes: number;
      readonly storedBytes: number;
    }
  | {
      readonly type: "selection";
      readonly app: string;
      readonly env: string;
      readonly selector: string;
      readonly nodes: readonly string[];
      readonly absent: readonly string[];
      /** Nobody said which nodes: shown before acting. */
      readonly implied: boolean;
    }
  | {
      readonly type: "order";
      readonly order: Digest;
      readonly app: string;
      readonly env: string;
      readonly release: ReleaseId;
      readonly state: "run" | "stopped";
      readonly seq: number;
      readonly nodes: number;
    }
  | {
      readonly type: "staging";
      readonly node: string;
      readonly stage: string;
      readonly bytesDone: number;
      readonly bytesTotal: number;
    }
  | ({ readonly type: "staged" } & StagedNode)
  | { readonly type: "rollout"; readonly view: RolloutView };

/** How the staging of a release went on one node. */
export interface StagedNode {
  readonly node: string;
  /** `later`: it is away, or was cut off, and gets the release when it comes. */
  readonly outcome: "staged" | "failed" | "later";
  /** It had been there in full. */
  readonly already: boolean;
  readonly bytesFetched: number;
  readonly sources: z.infer<typeof bytesBySource>;
  readonly code: string | null;
  readonly message: string | null;
}

export type Tell = (event: OperatorEvent) => void;

/** Tells of a release that is there now. What a dry run would publish, that says itself. */
export function tellRelease(
  tell: Tell,
  { dryRun }: Doer,
  made: {
    readonly app: string;
    readonly id: ReleaseId;
    readonly release: Pick<Release, "commit" | "files" | "bytes">;
    readonly already: boolean;
    readonly storedBytes: number;
  },
): void {
  const { app, id, release, already, storedBytes } = made;
  const { commit, files, bytes } = release;
  if (dryRun === undefined || already)
    tell({ type: "release", app, release: id, commit, already, files, bytes, storedBytes });
}
