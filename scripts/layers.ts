/**
 * Imports point one way: a folder of src may import itself and the folders after it in this list, and so may a folder
 * within one of these that is listed, too (docs/architecture.md).
 */
import { globSync, readFileSync } from "node:fs";
import path from "node:path";

const LAYERS = [
  "cli",
  "ui",
  "operator",
  "hub",
  "agent",
  "router",
  "state",
  "gossip",
  "keeper",
  "rollout",
  "api",
  "bucket",
  "app",
  "source",
  "release",
  "depot",
  "trust",
  "store",
  "lib",
];

/** Files that lie beside these folders put them together: they import any, and none imports them. */
const WITHIN: Readonly<Record<string, readonly string[]>> = {
  cli: [
    "demo",
    "git",
    "tool",
    "server",
    "release",
    "repair",
    "cache",
    "deploy",
    "view",
    "node",
    "bucket",
    "units",
    "command",
    "terminal",
  ],
  operator: [
    "server",
    "shelf",
    "bucket",
    "cache",
    "view",
    "deploy",
    "ask",
    "order",
    "release",
    "nodes",
    "source",
    "identity",
    "tell",
  ],
  hub: [
    "git",
    "depot",
    "reporting",
    "wanted",
    "rollouts",
    "commands",
    "orders",
    "cluster",
    "records",
    "http",
  ],
  agent: [
    "subscriber",
    "commands",
    "reporting",
    "health",
    "attempt",
    "installs",
    "registry",
    "source",
    "peers",
    "runtime",
    "programs",
    "plan",
    "node",
  ],
  release: ["upkeep", "export", "install", "delta", "publish", "record", "fetch", "tree"],
  depot: ["traffic", "peers", "cache", "s3", "http", "directory", "seam"],
  lib: ["testing", "async", "process", "disk", "time", "memory", "text", "errors"],
  trust: ["node", "orders", "members", "charter", "document", "connection", "keys"],
};

const root = path.resolve(import.meta.dirname, "..");
const breaches: string[] = [];

for (const file of globSync("src/**/*.{ts,cjs}", { cwd: root })) {
  const [, from = ""] = file.split(path.sep);
  if (!LAYERS.includes(from)) breaches.push(`${file}: folder ${from} is not a layer`);
  const folder = folderWithin(file);
  if (folder === undefined) breaches.push(`${file}: its folder has no place in the order of ${from}'s`);
  for (const target of importsOf(file)) {
    const [top, to = ""] = target.split(path.sep);
    if (top !== "src") continue;
    const above = from === to ? isAbove(target, file) : LAYERS.indexOf(to) < LAYERS.indexOf(from);
    if (above) breaches.push(`${file}: imports ${target}, which lies above it`);
  }
}

for (const breach of breaches) console.error(breach);
process.exit(breaches.length === 0 ? 0 : 1);

/** Its place among the folders of its layer; -1 beside them; undefined where it should have one and has none. */
function folderWithin(file: string): number | undefined {
  const [, layer = "", folder, below] = file.split(path.sep);
  const order = WITHIN[layer];
  if (order === undefined || below === undefined) return -1;
  const place = order.indexOf(folder ?? "");
  return place === -1 ? undefined : place;
}

/** Tests use the fixtures of the whole. */
function isAbove(target: string, file: string): boolean {
  if (/\.(?:test|fixture|child)\.ts$/.test(file)) return false;
  return (folderWithin(target) ?? -1) < (folderWithin(file) ?? -1);
}

function importsOf(file: string): string[] {
  const text = readFileSync(path.join(root, file), "utf8");
  const found = text.matchAll(/(?:from|import|import\()\s*"(\.{1,2}\/[^"]+)"/g);
  return [...found].map(([, specifier = ""]) => path.join(path.dirname(file), specifier));
}
