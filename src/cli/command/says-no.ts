/** A shell exports what is empty, and says no by a word: what a variable that mirrors a flag says then is no. */
export const saysNo = (value: string): boolean => /^(|0|no|false|off)$/i.test(value);
