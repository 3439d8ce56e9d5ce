/**
 * The manifest's `build.files`: `*` within a part, `**` over parts, `?`, `[a-z]`, `{a,b}`, also within one another. A pattern that names a
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

/** Those of the patterns that take nothing of what was taken: mistyped, or another one leaves all of it out. */
export function idleGlobs(globs: readonly string[], taken: readonly string[]): string[] {
  return globs.filter((glob) => !glob.startsWith("!") && !taken.some(globFilter([glob])));
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
  const close = text.charAt(at) === "{" ? closingBrace(text, at) : text.indexOf("]", at + 1);
  if (close === -1) return undefined;
  const inner = text.slice(at + 1, close);
  const length = close + 1 - at;
  if (text.charAt(at) === "[") {
    const not = inner.startsWith("!") ? "^" : "";
    return [`[${not}${inner.slice(not.length).replace(/[\\^[\]]/g, "\\$&")}]`, length];
  }
  return [`(?:${choicesIn(inner).map(translateAll).join("|")})`, length];
}

function closingBrace(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    if (text.charAt(i) === "{") depth += 1;
    else if (text.charAt(i) === "}" && --depth === 0) return i;
  }
  return -1;
}

/** What lies between commas, where these are in no braces of their own. */
function choicesIn(text: string): string[] {
  const choices = [""];
  let depth = 0;
  for (const char of text) {
    if (char === "{") depth += 1;
    if (char === "}") depth -= 1;
    if (char === "," && depth === 0) choices.push("");
    else choices.push(`${choices.pop() ?? ""}${char}`);
  }
  return choices;
}
