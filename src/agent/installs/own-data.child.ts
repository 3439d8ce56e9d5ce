import { systemClock } from "../../lib/time/clock.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { processGroups } from "../programs/groups.ts";
import { appFolders } from "./folders.ts";
import { ownData } from "./own-data.ts";

/** An agent of its own that gives an app's data away: `own-data.child.ts HOME GROUPS UID`. */
const [home = "", groups = "", uid = ""] = process.argv.slice(2);
const folders = appFolders(pathsFrom({ SKEIN_HOME: home }), "shop");
await ownData(
  folders,
  { uid: Number(uid), gid: Number(uid) },
  { clock: systemClock, groups: processGroups(groups), signal: new AbortController().signal },
);
