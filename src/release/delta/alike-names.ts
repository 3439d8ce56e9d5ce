/**
 * A path without what looks like a hash in it: builds name their outputs `index-Bx3k2.js` or put them in folders named
 * after the build, and the next build's have other hashes. Two paths with one plain name are likely versions of one
 * file; whether they are, their bytes say.
 */
export function plainName(path: string): string {
  return path
    .split("/")
    .map((part) => plainPart(part))
    .join("/");
}

/** Ends of names as bundlers write them: a dash or dot and eight characters of base64url. */
const ENDING = /^(.*)[-.]([\w-]{8})$/;
const WORDS = /[A-Za-z0-9]+/g;

function plainPart(part: string): string {
  const dot = part.lastIndexOf(".");
  const extension = dot > 0 ? part.slice(dot) : "";
  const stem = dot > 0 ? part.slice(0, dot) : part;
  const [, head, ending] = ENDING.exec(stem) ?? [];
  const rest = head !== undefined && ending !== undefined && isRandom(ending) ? head : stem;
  return rest.replaceAll(WORDS, (word) => (isRandom(word) ? "" : word)) + extension;
}

const LEAST_HASH = 5;

/** Letters and digits mixed, or capitals within: as no word is written. */
function isRandom(text: string): boolean {
  if (text.length < LEAST_HASH) return false;
  const hasDigit = /\d/.test(text);
  const hasLetter = /[A-Za-z]/.test(text);
  return (hasDigit && hasLetter) || /[a-z-][A-Z]/.test(text) || (hasDigit && text.length >= 16);
}

/** The extension, from its dot on; empty when there is none. */
export function extensionOf(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot) : "";
}
