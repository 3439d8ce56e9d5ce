/** The benchmark itself, in namespaces of its own (bench/transfer.ts starts it there). Prints one figure a line. */
import type { Figure } from "../bench.ts";
import { Processes } from "../../test/support/processes.ts";
import { figuresOf } from "../transfer/run.ts";
import { layWire } from "../transfer/namespace.ts";
import type { Work } from "../transfer/work.ts";

const work = JSON.parse(process.argv[2] ?? "") as Work;
const { dir } = work;
const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
const { signal } = stop;
const print = (figure: Figure): void => void process.stdout.write(`${JSON.stringify(figure)}\n`);

await using processes = new Processes(dir);
const wire = await layWire();
for await (const figure of figuresOf({ wire, dir, processes, signal }, work)) print(figure);
// What holds the second namespace ends with this process.
process.exit();
