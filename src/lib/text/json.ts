/** What a terminal would act on, but for tabs and line ends. */
export const ACTS = String.raw`[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]`;
const ALL_ACTS = new RegExp(ACTS, "g");

export const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** JSON that somebody may look at on a terminal. By itself it escapes only what is below a space. */
export const shownJson = (value: object): string => JSON.stringify(value).replaceAll(ALL_ACTS, escaped);

/** What a text says as JSON; undefined where it is none: whoever asks has a schema for what is. */
export function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
