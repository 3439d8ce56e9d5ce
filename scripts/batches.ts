import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

/** More would save little more, and would end as the last where the others' cores have nothing left to do. */
const AT_MOST = 8;
/** What one file's tests change of their process, or do before and after each test in it, another's would meet. */
const CHANGES_PROCESS =
  /^(?:before|after|beforeEach|afterEach)\(|\bmock\.|\bprocess\.(?:env\[.+\] =|umask|memoryUsage)/m;

/**
 * To start Node and import what a file of tests needs costs more than most of them do, and neighbours import much the
 * same: so they share a process.
 * @param files absolute, in the order in which they begin
 * @param alone those that take long
 * @param folder where to write what imports a batch
 * @returns what to run in their place, in the same order
 */
export function inBatches(files: readonly string[], alone: ReadonlySet<string>, folder: string): string[] {
  const programs: string[] = [];
  let batch: string[] = [];
  const close = (): void => {
    programs.push(...(batch.length > 1 ? [writeBatch(batch, folder)] : batch));
    batch = [];
  };
  for (const file of files) {
    if (alone.has(file) || CHANGES_PROCESS.test(readFileSync(file, "utf8"))) {
      programs.push(file);
      continue;
    }
    batch.push(file);
    if (batch.length === AT_MOST) close();
  }
  close();
  return programs;
}

/** Named after its first file, as what is told of a whole batch. */
function writeBatch(files: readonly string[], folder: string): string {
  const [first = ""] = files;
  const name = path.relative(process.cwd(), first).replaceAll(path.sep, "-");
  const program = path.join(folder, `from-${name}.mjs`);
  writeFileSync(program, files.map((file) => `import ${JSON.stringify(file)};\n`).join(""));
  return program;
}
