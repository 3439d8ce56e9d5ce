import type { ErrorCode } from "../lib/errors/errors.ts";

/** Keys and list indexes from the top of the manifest. */
export type KeyPath = readonly (string | number)[];

/** One thing that is wrong with a manifest, before its place in the text is known. */
export interface Problem {
  readonly code: Extract<ErrorCode, "MANIFEST_INVALID" | "MANIFEST_LATER">;
  readonly path: KeyPath;
  /** Is it the key itself that is wrong, rather than what it says? */
  readonly atKey: boolean;
  readonly message: string;
}

export function invalid(path: KeyPath, message: string, atKey = false): Problem {
  return { code: "MANIFEST_INVALID", path, atKey, message };
}

/** `processes.web.listen.http`, `steps[0]`. */
export function pathText(path: KeyPath): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? part : `${text}.${part}`;
  }, "");
}
