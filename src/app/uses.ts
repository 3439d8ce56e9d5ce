import type { Report } from "./expand-process.ts";
import type { Manifest } from "./manifest.ts";
import { invalid, type KeyPath } from "./problem.ts";

type Around = Pick<Manifest, "app" | "processes">;

/** The manifest's own list; names in it and in its processes' that cannot be meant are reported. */
export function expandUses(
  input: readonly string[] | undefined,
  around: Around,
  report: Report,
): readonly string[] {
  const uses = input ?? [];
  if (uses.length > 0 && Object.keys(around.processes).length === 0) {
    report(invalid(["uses"], "nothing runs here that could look it up: leave out uses", true));
  }
  checkUses(uses, ["uses"], around, report);
  for (const [name, process] of Object.entries(around.processes)) {
    checkUses(process.uses, ["processes", name, "uses"], around, report);
  }
  return uses;
}

function checkUses(uses: readonly string[], at: KeyPath, around: Around, report: Report): void {
  for (const [i, service] of uses.entries()) {
    const why = uses.indexOf(service) < i ? `${service} is in the list already` : whyOwn(service, around);
    if (why !== undefined) report(invalid([...at, i], why));
  }
}

/** What the name means within the app already, if anything. */
function whyOwn(service: string, { app, processes }: Around): string | undefined {
  const [first = "", ...rest] = service.split(".");
  const own = rest.join(".");
  if (first === app) return `${service} is this app's own, which finds it as ${own} without uses`;
  // The first socket goes by the process's name, the others by both.
  if (Object.keys(processes[first]?.listen ?? {}).indexOf(own) < 1) return undefined;
  return `${service} is socket ${own} of this app's own process ${first} already: rename one of the two`;
}
