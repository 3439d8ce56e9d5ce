/**
 * The manifest's `build.files`: `*` within a part, `**` over parts, `?`, `[a-z]`, `{a,b}`. A pattern that names a
 * folder takes everything below it, `.` takes all. Later patterns win; one that begins with `!` leaves out.
 */
export function globFilter(globs: readonly string[] | undefined): (path: string) => boolean {
  if (globs === undefined || globs.length === 0) return () => true;
  const rules = globs.map((glob) => {
    const out = glob.startsWith("!");
    return { out, pattern: globToRegExp(out ? glob.slice(1) : glob) };
  });
  const startsWithAll = rules[0]?.out === true;
  return (path) =>
    rules.reduce((inside, rule) => (rule.pattern.test(path) ? !rule.out : inside), startsWithAll);
}

/** Whether it can be read: everything can but a range that runs backwards, `[z-a]`. */
export function isGlob(glob: string): boolean {
  try {
    globFilter([glob]);
    return true;
  } catch {
    return false;
  }
}

const EVERYTHING = /^/;

function globToRegExp(glob: string): RegExp {
  if (glob === "." || glob === "./") return EVERYTHING;
  const text = glob.replace(/^\.?\//, "").replace(/\/$/, "");
  return new RegExp(`^${translateAll(text)}(?:/.*)?$`, "su");
}

function translateAll(text: string): string {
  let pattern = "";
  for (let i = 0; i < text.length;) {
    const [piece, length] = translate(text, i);
    pattern += piece;
    i += length;
  }
  return pattern;
}

function translate(text: string, at: number): [string, number] {
  if (text.startsWith("**/", at)) return ["(?:[^/]+/)*", 3];
  if (text.startsWith("**", at)) return [".*", 2];
  const char = text.charAt(at);
  if (char === "*") return ["[^/]*", 1];
  if (char === "?") return ["[^/]", 1];
  if (char === "{" || char === "[") return translateGroup(text, at) ?? [`\\${char}`, 1];
  return [char.replace(/[\\^$.|+()[\]{}/]/, "\\$&"), 1];
}

function translateGroup(text: string, at: number): [string, number] | undefined {
  const close = text.indexOf(text.charAt(at) === "{" ? "}" : "]", at + 1);
  if (close === -1) return undefined;
  const inner = text.slice(at + 1, close);
  const length = close + 1 - at;
  if (text.charAt(at) === "[") {
    const not = inner.startsWith("!") ? "^" : "";
    return [`[${not}${inner.slice(not.length).replace(/[\\^[\]]/g, "\\$&")}]`, length];
  }
  const choices = inner.split(",").map(translateAll);
  return [`(?:${choices.join("|")})`, length];
}
