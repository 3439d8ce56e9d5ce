/** In the place of groups.ts in the program that deploys, which is read and compiled at each start. */
import { registerDeploy } from "./deploy/deploy-commands.ts";
import type { Groups } from "./command/group.ts";

export const GROUPS: Groups = [[registerDeploy, "deploy", "Deploying"]];
