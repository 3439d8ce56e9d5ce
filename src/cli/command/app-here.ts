import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { originOf, readManifest, type Origin } from "../../operator/source/source.ts";
import type { Context } from "./context.ts";
import { appWord, deployWords, usage, type WordFlags, type DeployWords } from "./grammar.ts";

/** The app that a word or `--app` names, else that of the manifest here. @throws SkeinError USAGE */
export async function appHere(context: Context, word: string | null | undefined): Promise<string> {
  const named = appWord(word, context.globals.app);
  if (named !== undefined) return named;
  const origin = await placeHere(context);
  try {
    const manifest = await readManifest(origin, { env: context.env, signal: context.signal });
    return manifest.app;
  } catch (err) {
    if (err instanceof SkeinError && err.code.startsWith("MANIFEST_")) return nameOfBroken(context, err);
    throw usage("which app? There is no manifest here", "Name it, for example: skein status APP");
  }
}

/** As `deployWords`; a version alone is one of the app whose manifest is here. @throws SkeinError USAGE */
export async function deployWish(
  context: Context,
  words: readonly string[],
  { version, from }: Pick<WordFlags, "version" | "from">,
  verb?: string,
): Promise<DeployWords> {
  const { app, on } = context.globals;
  const isAlone = words.length === 0 && version !== undefined && from === undefined;
  return deployWords(words, { app: isAlone ? await appHere(context, app) : app, on, version, from }, verb);
}

/** Where git does not read the repository, the folder says as well what its app is called. */
async function placeHere({ cwd, signal }: Context): Promise<Origin> {
  try {
    return (await originOf(cwd, signal)).origin;
  } catch (err) {
    if (isSkeinError(err, "GIT_FAILED")) return { kind: "path", path: cwd };
    throw err;
  }
}

/** What runs can be looked at, stopped and taken back while the manifest here is being mended. */
function nameOfBroken({ io }: Context, err: SkeinError): string {
  const { app } = err.data;
  if (typeof app === "string") {
    io.say(`${io.paint("yellow", "note")} ${err.message}`);
    return app;
  }
  throw new SkeinError(err.code, err.message, {
    hint: `${err.hint} Or name the app: skein status APP`,
    data: err.data,
    cause: err,
  });
}
