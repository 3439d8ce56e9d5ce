import os from "node:os";
import { nodeName } from "../../trust/document/fields.ts";
import { usage } from "./grammar.ts";

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

/** @throws SkeinError USAGE for what could not be signed as a node's name */
export function refuseNodeName(name: string | undefined): void {
  if (name === undefined || nodeName.safeParse(name).success) return;
  throw usage(`${name} is no node's name`, "Write a-z, 0-9, - and dots: web3, web3.fra.");
}
