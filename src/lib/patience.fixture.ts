/**
 * How long a test waits for what must come, in ms. No promise is about it: it ends a test that would hang, however
 * slow the machine, before the runner ends the whole file without a word of what was waited for.
 */
export const PATIENCE_MS = 120_000;
