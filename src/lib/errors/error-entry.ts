/** Every code, with the exit status of a command that ends with it, what it means and how it is mended. */
export interface CodeEntry {
  readonly exit: 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;
  readonly meaning: string;
  readonly mend: string;
}

export const entry = (exit: CodeEntry["exit"], meaning: string, mend: string): CodeEntry => ({
  exit,
  meaning,
  mend,
});
