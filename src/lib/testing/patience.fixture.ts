/**
 * How long a test waits for what must come, in ms. No promise is about it: it ends a test that would hang on however
 * slow a machine. Less than 60 s, after which much comes by itself: a lease runs out, a poll that nobody woke ends.
 */
export const PATIENCE_MS = 50_000;
