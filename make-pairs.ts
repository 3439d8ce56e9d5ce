import { pairOf, PAIR_NAMES } from "./bench/transfer/pairs.ts";
for (const name of PAIR_NAMES) { const t = Date.now(); try { await pairOf(name, new AbortController().signal); console.log(name, Date.now() - t); } catch (e) { console.log(name, String(e)); } }
