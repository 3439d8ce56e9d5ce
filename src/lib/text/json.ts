/** What a text says as JSON; undefined where it is none: whoever asks has a schema for what is. */
export function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
