import { directoryDepot } from "../../depot/directory/directory.ts";
import type { PublishedTree } from "../tree/published.ts";
import { repack } from "./repack.ts";

/** For tests: repacks the depot in the folder that is named, for kept trees given as JSON. */
const [folder = "", roots = "[]"] = process.argv.slice(2);
const { signal } = new AbortController();
const trees = JSON.parse(roots) as PublishedTree[];
await repack({ depot: directoryDepot(folder), roots: () => trees, signal });
