import { SkeinError } from "../../lib/errors/errors.ts";

const NAME = /^[a-z0-9._-]+(?:\/[a-z0-9._-]+)*$/;

/** Holds blob names to the seam's rule, in one place for every kind of depot. @throws SkeinError BAD_REQUEST */
export function checkBlobName(name: string): void {
  const parts = name.split("/");
  if (NAME.test(name) && name.length <= 200 && !parts.includes(".") && !parts.includes("..")) return;
  throw new SkeinError("BAD_REQUEST", `${JSON.stringify(name.slice(0, 200))} is no name of a blob`);
}
