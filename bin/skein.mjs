// The entry of a checkout: TypeScript as it lies there, its compiled form kept in a folder that only this user can write.
// Its own needs are not imported: that would evaluate all that these modules export.
const { lstatSync, mkdirSync } = process.getBuiltinModule("node:fs");
const module = process.getBuiltinModule("node:module");
const os = process.getBuiltinModule("node:os");
const path = process.getBuiltinModule("node:path");

try {
  // An empty HOME would make it the folder one is in; without any of them there is no cache.
  const places = [process.env.XDG_CACHE_HOME ?? "", path.join(os.homedir(), ".cache")];
  const cache = path.join(places.find(path.isAbsolute), "skein", "compile");
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(cache);
  if (uid === process.getuid?.() && (mode & 0o077) === 0) module.enableCompileCache?.(cache);
} catch {
  // Without a cache it only starts more slowly.
}
// A command reads each kind of document a few times and ends: compiling readers for them costs more than it saves.
// zod looks at this while its schemas are made, so before anything else is loaded.
const has = (...words) => process.argv.some((word) => words.includes(word));
const isServer = has("hub", "agent", "up");
if (!isServer) globalThis.__zod_globalConfig = { jitless: true };
const { main } = await import("../src/cli/main.ts");
process.exitCode = await main(process.argv.slice(2));
