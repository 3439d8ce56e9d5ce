import { registerCache } from "./cache/cache-commands.ts";
import { registerDemo } from "./demo/demo-commands.ts";
import { registerDeploy } from "./deploy/deploy-commands.ts";
import { registerFtl } from "./bucket/ftl-commands.ts";
import { registerLifecycle } from "./deploy/lifecycle-commands.ts";
import { registerNodes } from "./node/node-commands.ts";
import { registerRelease } from "./release/release-commands.ts";
import { registerRollouts } from "./deploy/rollout-commands.ts";
import { registerRepair } from "./repair/repair-commands.ts";
import { registerServers } from "./server/server-commands.ts";
import { registerStage } from "./deploy/stage-commands.ts";
import { registerTools } from "./tool/tool-commands.ts";
import { registerViews } from "./view/view-commands.ts";
import type { Groups } from "./command/group.ts";

/** Who defines which verbs, and under which title help shows them. Defining all of them takes longer than many a command. */
export const GROUPS: Groups = [
  [registerServers, "init up hub agent keeper", "Machines"],
  [registerNodes, "node", "Machines"],
  [registerViews, "list ls status releases show ports check verify logs", "Looking"],
  [registerDeploy, "build deploy plan rollback", "Deploying"],
  [registerStage, "cp stage", "Deploying"],
  [registerRollouts, "watch abort pause resume", "Deploying"],
  [registerRelease, "release", "Elsewhere: buckets, files, machines without a hub"],
  [registerLifecycle, "start stop restart", "Deploying"],
  [registerFtl, "spool sync jump jump-back purge ftl", "Elsewhere: buckets, files, machines without a hub"],
  [registerRepair, "drift compare-checksums repair", "Mending and tidying"],
  [registerCache, "cache", "Mending and tidying"],
  // completion is not named: it tells of all.
  [registerTools, "validate gc version", "Tools"],
  [registerDemo, "demo", "Tools"],
];
