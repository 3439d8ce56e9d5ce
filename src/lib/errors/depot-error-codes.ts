import { entry, type CodeEntry } from "./error-entry.ts";

/** Codes of what carries and keeps releases: sources, trees, packs, depots, buckets. */
export const DEPOT_ERROR_CODES = {
  BLOB_MISSING: entry(1, "The depot has no blob of that name.", "Publish the release again: skein deploy."),
  DEPOT_UNREACHABLE: entry(
    1,
    "The bucket's server does not answer, or not in time.",
    "Check the endpoint and the network, then run it again: what was stored is used.",
  ),
  DEPOT_DENIED: entry(
    4,
    "The bucket's server refuses the credentials, or they lack a right.",
    "Check the key and its policy (docs/how-to/s3.md lists the rights).",
  ),
  DEPOT_CREDENTIALS: entry(
    4,
    "No credentials were found for the bucket.",
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role of the machine.",
  ),
  DEPOT_SETTINGS: entry(
    2,
    "The bucket's address, region or endpoint is not right.",
    "Write s3://BUCKET/PREFIX; see docs/how-to/s3.md for region and endpoint.",
  ),
  DEPOT_REFUSED: entry(
    1,
    "The bucket's server refused a request for a reason of its own.",
    "See the server's word in the message.",
  ),
  LIST_ENDLESS: entry(
    1,
    "A depot lists more names than Skein could ever have put there.",
    "Its server is at fault, or the bucket is shared with much else: give Skein a prefix of its own.",
  ),
  BUCKET_NOT_FOUND: entry(
    7,
    "There is no bucket of that name at the endpoint.",
    "Check name, region and endpoint, or make the bucket.",
  ),
  CHUNK_MISSING: entry(
    1,
    "The depot lacks a chunk of the release.",
    "Publish the release again: skein deploy.",
  ),
  CHUNK_CORRUPT: entry(
    1,
    "Bytes do not hash to their id.",
    "It is fetched again from elsewhere; if it stays: skein gc --depot --damaged (--bucket without a hub), then publish again.",
  ),
  TREE_CORRUPT: entry(
    1,
    "A tree's rows do not lead to the signed tree id.",
    "Remove it with skein gc --depot --damaged (and --bucket without a hub), then publish the release again.",
  ),
  PACK_CORRUPT: entry(
    1,
    "A pack's index or frames are damaged.",
    "Remove it with skein gc --depot --damaged (and --bucket without a hub), then publish the release again.",
  ),
  DELTA_CORRUPT: entry(
    1,
    "A delta between two releases is damaged or does not lead to the signed tree.",
    "Nothing is to be done: the release is fetched without it.",
  ),
  TREE_REFUSED: entry(
    2,
    "The source holds something that a release may not.",
    "Change what the message names.",
  ),
  ARCHIVE_REFUSED: entry(
    2,
    "The archive holds something that a release may not, or is damaged.",
    "Change what the message names and pack it again.",
  ),
  SOURCE_NOT_FOUND: entry(
    2,
    "There is nothing to release at that path.",
    "Give a directory, an archive, an executable, or run it in one.",
  ),
  COMMIT_NOT_FOUND: entry(
    7,
    "No such commit here nor on the hub.",
    "Push it: git push skein://HUB/APP BRANCH.",
  ),
  COMMIT_MISMATCH: entry(1, "The hub gave another commit than asked for.", "Check the hub."),
  GIT_FAILED: entry(1, "git ended with an error.", "See git's own words above."),
  BUILD_FAILED: entry(1, "The build or its test failed; nothing was deployed.", "See its last lines above."),
  BUILD_DIFFERS: entry(
    1,
    "The same commit was built to another tree before.",
    "Make the build reproducible, or deploy the earlier release.",
  ),
  RELEASE_NOT_FOUND: entry(7, "No release of that name or id.", "List them with skein releases."),
  EXPORT_DAMAGED: entry(
    1,
    "The file is not one that skein release export wrote, or it is damaged; nothing was kept.",
    "Copy it again, or export it again.",
  ),
  EXPORT_NEEDS: entry(
    1,
    "The file leaves out what an earlier release has, and that one is not here; nothing was kept.",
    "Import that release first, or export without --from.",
  ),
} as const satisfies Record<string, CodeEntry>;
