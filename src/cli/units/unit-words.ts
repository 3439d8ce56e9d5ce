/** Words as those read them that start programs by themselves. */

const PLAIN = /^[\w@%+=:,./-]+$/;

/** Of a unit's command line: `%` is a specifier and `$` a variable unless doubled. */
export const commandWord = (word: string): string => quoted(word.replaceAll(/[%$]/g, "$&$&"));

/** Of a unit's `Environment=`: variables are not expanded there, so a `$` stands for itself. */
export const environmentWord = (name: string, value: string): string =>
  quoted(`${name}=${value}`.replaceAll("%", "%%"));

export function shellWord(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** Of a crontab's command: cron turns a bare `%` into the end of the line, whoever quotes it for the shell. */
export const cronWord = (word: string): string => shellWord(word).replaceAll("%", String.raw`\%`);

function quoted(word: string): string {
  return PLAIN.test(word) ? word : `"${word.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}
