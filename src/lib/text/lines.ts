import { StringDecoder } from "node:string_decoder";

/** Output as lines, whatever the pieces it comes in. */
export interface Lines {
  readonly feed: (chunk: Buffer) => void;
  /** What came after the last end of a line is one, too. */
  readonly end: () => void;
}

/** A line ends also where a progress bar goes back to its begin; at the end of a piece a line feed may follow. */
const LINE_END = /\r?\n|\r(?!$)/;

/** Of a line longer than `most` characters its begin, with a mark. */
export const cutLine = (line: string, most: number): string =>
  line.length > most ? `${line.slice(0, most)}…` : line;

/** As much of a line that has not ended yet as `cutLine` needs. */
export const lineBegun = (line: string, most: number): string => line.slice(0, most + 1);

/** Tells each line, cut to `most` characters; of one that does not end no more than that is held. */
export function cutLines(most: number, tell: (line: string) => void): Lines {
  const decoder = new StringDecoder();
  let rest = "";
  return {
    feed(chunk) {
      const lines = (rest + decoder.write(chunk)).split(LINE_END);
      rest = lineBegun(lines.pop() ?? "", most);
      for (const line of lines) tell(cutLine(line, most));
    },
    end() {
      const line = (rest + decoder.end()).replace(/\r$/, "");
      if (line !== "") tell(cutLine(line, most));
      rest = "";
    },
  };
}
