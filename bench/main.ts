import fs from "node:fs/promises";
import { parseArgs } from "node:util";
import type { Bench, Figure } from "./bench.ts";

/** `npm run bench -- NAME [--json] [--quick]`: exits with 1 when a goal is not met, 2 when there is no such bench. */
const NOT_BENCHES = new Set(["bench.ts", "main.ts"]);
/** By a signal: as shells tell of a program that SIGINT ended. */
const STOPPED = 128 + 2;

async function names(): Promise<string[]> {
  const files = await fs.readdir(import.meta.dirname);
  const benches = files.filter((file) => file.endsWith(".ts") && !NOT_BENCHES.has(file));
  return benches.map((file) => file.slice(0, -".ts".length)).sort();
}

function print(figure: Figure, json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify(figure)}\n`);
    return;
  }
  const peer =
    figure.peer === null ? "" : ` against ${figure.peer} (${figure.peer_name}), ratio ${figure.ratio}`;
  const verdict = figure.met ? "met" : "NOT MET";
  process.stdout.write(
    `${figure.bench} ${figure.case}: ${figure.ours}${peer}; goal ${figure.goal}: ${verdict}\n`,
  );
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: "boolean", default: false }, quick: { type: "boolean", default: false } },
  });
  const known = await names();
  const name = positionals[0];
  if (name === undefined || positionals.length > 1 || !known.includes(name)) {
    process.stderr.write(`usage: npm run bench -- NAME [--json] [--quick]   NAME: ${known.join(", ")}\n`);
    return 2;
  }
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  const { bench } = (await import(`./${name}.ts`)) as { bench: Bench };
  let met = true;
  try {
    for await (const figure of bench({ quick: values.quick, signal: stop.signal })) {
      print(figure, values.json);
      met &&= figure.met;
    }
  } catch (err) {
    if (!stop.signal.aborted) throw err;
    process.stderr.write("stopped\n");
    return STOPPED;
  }
  return met ? 0 : 1;
}

process.exitCode = await main();
