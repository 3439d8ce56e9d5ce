import os from "node:os";

/** How this machine calls itself, as a node's name may be. */
export function nodeNameHere(): string {
  const name = os
    .hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]+/g, "-")
    .replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, "")
    .slice(0, 63);
  return name === "" || name === "all" ? "node" : name;
}
