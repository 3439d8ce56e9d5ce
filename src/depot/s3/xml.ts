/** As much XML as S3 speaks: elements and text, no attributes that matter, no mixed content. */
export interface Element {
  readonly name: string;
  readonly children: readonly Element[];
  /** Of an element without children, entities resolved. */
  readonly text: string;
}

/** A name ends where a separator stands: a tag without an end is looked through once, not once for each shorter name. */
const TOKEN =
  /<!\[CDATA\[([\s\S]*?)\]\]>|<[?!][^>]*>|<\/([^\s>]+)\s*>|<([^\s/>]+)(?=[\s/>])[^>]*?(\/?)>|([^<]+)/gy;
const MAX_DEPTH = 16;
const ENTITIES = new Map(Object.entries({ amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }));

interface Open {
  readonly name: string;
  readonly children: Element[];
  text: string;
}

/** @returns the outermost element, or undefined when the text is not XML. Entities of a document's own are unknown. */
export function parseXml(text: string): Element | undefined {
  const top: Open = { name: "", children: [], text: "" };
  const open = [top];
  let read = 0;
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match !== null && take(match, open); match = TOKEN.exec(text)) {
    read = TOKEN.lastIndex;
    if (read === text.length) break;
  }
  const isWhole = read === text.length && open.length === 1 && top.children.length === 1;
  return isWhole ? top.children[0] : undefined;
}

/** Puts a token where it belongs. @param open from the outermost element to the one that it stands in */
function take(match: RegExpExecArray, open: Open[]): boolean {
  const [, cdata, ending, beginning, empty, plain = ""] = match;
  const here = open.at(-1);
  if (here === undefined) return false;
  if (beginning !== undefined) {
    const element: Open = { name: localName(beginning), children: [], text: "" };
    here.children.push(element);
    if (empty !== "/") open.push(element);
    return open.length <= MAX_DEPTH;
  }
  if (ending !== undefined) return open.pop()?.name === localName(ending);
  here.text += cdata ?? unescape(plain);
  return true;
}

/** The text of the first child of that name; "" when there is none. */
export function textIn(element: Element, name: string): string {
  return childIn(element, name)?.text.trim() ?? "";
}

function childIn(element: Element, name: string): Element | undefined {
  return element.children.find((child) => child.name === name);
}

export function childrenIn(element: Element, name: string): readonly Element[] {
  return element.children.filter((child) => child.name === name);
}

export function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Some servers write `<s3:Key>`. */
const localName = (name: string): string => name.slice(name.indexOf(":") + 1);

function unescape(text: string): string {
  return text.replaceAll(/&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(\w{1,8}));/g, (whole, decimal, hex, name) => {
    const code = decimal !== undefined ? Number(decimal) : hex !== undefined ? Number.parseInt(hex, 16) : NaN;
    if (code <= 0x10ffff) return String.fromCodePoint(code);
    return ENTITIES.get(String(name)) ?? whole;
  });
}
