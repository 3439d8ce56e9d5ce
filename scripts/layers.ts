/** Imports point one way: a folder of src may import itself and the folders after it in this list (docs/architecture.md). */
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

const root = path.resolve(import.meta.dirname, "..");
const breaches: string[] = [];

for (const file of globSync("src/**/*.{ts,cjs}", { cwd: root })) {
  const [, from = ""] = file.split(path.sep);
  if (!LAYERS.includes(from)) breaches.push(`${file}: folder ${from} is not a layer`);
  for (const target of importsOf(file)) {
    const [top, to = ""] = target.split(path.sep);
    if (top !== "src") continue;
    if (LAYERS.indexOf(to) < LAYERS.indexOf(from))
      breaches.push(`${file}: imports ${target}, which lies above it`);
  }
}

for (const breach of breaches) console.error(breach);
process.exit(breaches.length === 0 ? 0 : 1);

function importsOf(file: string): string[] {
  const text = readFileSync(path.join(root, file), "utf8");
  const found = text.matchAll(/(?:from|import|import\()\s*"(\.{1,2}\/[^"]+)"/g);
  return [...found].map(([, specifier = ""]) => path.join(path.dirname(file), specifier));
}
