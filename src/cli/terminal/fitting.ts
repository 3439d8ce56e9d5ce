import { lazily } from "../../lib/memory/lazily.ts";

const ASCII = /^[\x20-\x7e]*$/;

/** To make these takes a tenth of a command's start, and most lines need none. */
const widths = lazily({
  /** Of scripts without letters and of emoji, terminals take two columns for each. */
  wide: () =>
    /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u,
  /** Accents, joiners: they stand over what is before them. */
  none: () => /[\p{Mn}\p{Me}\p{Cf}]/u,
});

/** As much of a line without styles as a terminal shows in so many columns. */
export function fitting(text: string, width: number): string {
  if (ASCII.test(text)) return text.slice(0, width);
  const { wide, none } = widths;
  let [end, used] = [0, 0];
  for (const char of text) {
    used += none.test(char) ? 0 : wide.test(char) ? 2 : 1;
    if (used > width) break;
    end += char.length;
  }
  return text.slice(0, end);
}
