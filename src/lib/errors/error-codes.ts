import { DEPOT_ERROR_CODES } from "./depot-error-codes.ts";
import { entry, type CodeEntry } from "./error-entry.ts";

/** docs/errors.md is generated from this table. One entry per code, by the layer that raises it. */
export const ERROR_CODES = {
  // general
  INTERNAL: entry(
    1,
    "A defect in Skein itself.",
    "Report it with the output of the same command and --verbose.",
  ),
  USAGE: entry(
    2,
    "The command line is not one that Skein knows.",
    "See skein --help, or --help after the command.",
  ),
  AMBIGUOUS: entry(2, "What was typed can be read in two ways.", "Type one of the two forms printed."),
  INTERRUPTED: entry(1, "The operation was cancelled.", "Run it again; nothing is half-done."),
  TIMEOUT: entry(8, "The time allowed ran out; what was started goes on.", "Look again with skein status."),
  NOT_FOUND: entry(7, "Nothing of that name exists.", "List what exists with skein list."),
  NO_CLUSTER: entry(
    7,
    "This machine operates no cluster yet.",
    "Make one: skein up (all on this machine), or skein init.",
  ),
  VERSION_DIFFERS: entry(
    1,
    "A node runs another version than asked about.",
    "Deploy the version: skein deploy.",
  ),
  NAME_NOT_GIVEN: entry(
    2,
    "Something is about to be destroyed, and its name was not typed.",
    "Type the name when asked, or add --yes.",
  ),
  DISK_FULL: entry(
    1,
    "The disk has no room for what must be written.",
    "Free space (skein gc) and run it again.",
  ),
  MOUNTED: entry(
    1,
    "Something is mounted in a folder that Skein is to remove or set right.",
    "Unmount it there (umount PATH). What an app keeps belongs into 'writable' paths of its manifest.",
  ),
  IO: entry(1, "The operating system refused a read or a write.", "See the path and reason in the message."),

  // store
  STORE_COMPACTED: entry(
    1,
    "A watch asked for changes that were compacted away.",
    "Read the state anew and watch from its revision.",
  ),
  STORE_CLOSED: entry(1, "The store is closed.", "Start the hub again."),
  STORE_CORRUPT: entry(
    5,
    "The store's file is damaged or of another format.",
    "Restore a backup: skein hub restore FILE.",
  ),
  STORE_BUSY: entry(
    1,
    "Another process has the store open.",
    "Stop that hub first; a store is opened by one hub at a time.",
  ),
  STORE_REFUSED: entry(
    1,
    "A transaction, key or revision that no store takes.",
    "Report it: this is a defect in Skein, or a document over its bound.",
  ),
  LEASE_NOT_FOUND: entry(1, "The lease has expired or never was.", "Ask for a new lease."),
  CONFLICT: entry(
    6,
    "Somebody else changed the same thing first.",
    "Look at the new state and run the command again.",
  ),

  // trust
  DOC_MALFORMED: entry(
    1,
    "A signed document is not one that this version reads.",
    "Find out who sent it; nothing was changed.",
  ),
  DOC_TOO_BIG: entry(1, "A document is larger than its bound.", "Find out who sent it; nothing was changed."),
  DOC_UNSIGNED: entry(
    4,
    "Too few valid signatures by keys that may sign this.",
    "Sign with a key that the charter lists for it.",
  ),
  DOC_WRONG_TYPE: entry(
    1,
    "A document of another type stands where one was expected.",
    "Find out who sent it; nothing was changed.",
  ),
  DOC_FROM_FUTURE: entry(
    1,
    "A document is dated more than ten minutes ahead of this clock.",
    "Set the clock of the machine that differs.",
  ),
  DOC_ROLLBACK: entry(
    1,
    "A document older than one of its kind that was accepted.",
    "Nothing was changed; check who replays documents.",
  ),
  WRONG_CLUSTER: entry(
    1,
    "A document belongs to another cluster.",
    "Check which hub and charter this machine uses.",
  ),
  CHARTER_ROLLBACK: entry(
    1,
    "A charter that is not the next version.",
    "Check the hub; it offered an old charter.",
  ),
  CHARTER_PIN: entry(
    4,
    "The charter is not the one that was pinned.",
    "Compare the fingerprint with skein init's output.",
  ),
  CHARTER_EXPIRED: entry(
    5,
    "The charter has expired; new orders are refused, what runs goes on.",
    "Renew the charter.",
  ),
  NOT_AUTHORISED: entry(4, "The key has no right to do this.", "Ask an admin for the scope named."),
  UNKNOWN_CLIENT: entry(
    4,
    "The key on the other side of the connection is not known here.",
    "Join the node, or add the operator to the charter.",
  ),
  REVOKED: entry(
    4,
    "The key was revoked.",
    "To have the machine back: docs/operations.md, Taking a node out.",
  ),
  PIN_MISMATCH: entry(
    4,
    "The other side of the connection does not hold the pinned key.",
    "Check the address and the charter; somebody may be in between.",
  ),
  ORDER_ROLLBACK: entry(
    1,
    "An order older than one this node has accepted.",
    "Nothing was changed; check who replays orders.",
  ),
  ORDER_EQUIVOCATION: entry(
    5,
    "Two different orders carry one serial.",
    "Sign a new order; find out which key signed twice, or who restored the bucket.",
  ),
  ORDER_FORK: entry(
    5,
    "An order does not follow the one before it.",
    "Sign a new order; the hub may have been restored.",
  ),
  ORDER_EXPIRED: entry(1, "An order that was not settled before applyBefore.", "Deploy again."),
  ORDER_NOT_FOR_NODE: entry(1, "The order's selector does not name this node.", "Nothing was changed."),
  ORDER_UNKNOWN_RELEASE: entry(
    1,
    "The release document of an order is missing or does not match its id.",
    "Publish the release again.",
  ),
  SETTLE_UNPROVEN: entry(
    1,
    "A settle without the receipts that it needs.",
    "Nothing was changed; the hub must show the receipts.",
  ),
  UNDO_TOO_LATE: entry(
    1,
    "An undo after undoBefore or after the order was settled.",
    "Roll back with skein rollback.",
  ),
  ROLLOUT_ENDED: entry(
    1,
    "The rollout has ended or is being taken back: nothing is ahead that could be paused or go on.",
    "See how it ended: skein status.",
  ),
  TICKET_USED: entry(4, "The ticket was used before.", "Make another: skein node invite."),
  TICKET_EXPIRED: entry(4, "The ticket has expired.", "Make another: skein node invite."),
  TICKET_BAD: entry(
    4,
    "The ticket is not genuine, or for another cluster.",
    "Make another: skein node invite.",
  ),
  NAME_TAKEN: entry(
    1,
    "A node of that name exists.",
    "Choose another name, or skein node invite --replace NAME.",
  ),
  DUPLICATE: entry(
    5,
    "Two live agents use one node key (a cloned machine).",
    "Remove the identity on one of them and join it anew.",
  ),
  CLOCK_SKEW: entry(5, "The clocks differ by more than ten minutes.", "Set the clock."),
  KEY_UNREADABLE: entry(
    4,
    "The operator's or node's key cannot be read.",
    "Check the file's path, mode and format, or the ssh-agent.",
  ),
  SELECTOR_BAD: entry(
    2,
    "The selector cannot be read.",
    "Write for example 'role=web & env!=prod', 'web1 | web2', or all.",
  ),
  SELECTOR_AMBIGUOUS: entry(
    2,
    "A bare word is both a node and a label.",
    "Write WORD=true for the label, or rename one.",
  ),
  SELECTION_EMPTY: entry(7, "The selector names no node.", "See skein node ls; skein node label sets one."),

  ...DEPOT_ERROR_CODES,

  // manifest
  MANIFEST_INVALID: entry(2, "skein.yaml does not say what Skein can do.", "Change the line named."),
  MANIFEST_UNCOMMITTED: entry(
    2,
    "skein.yaml lies in the folder, but not in the commit that would be deployed.",
    "Commit it, or take the folder as it is: --from .",
  ),
  MANIFEST_LATER: entry(2, "A key that this version knows but does not do yet.", "Leave it out."),

  // hub and api
  NO_HUB: entry(
    1,
    "The cluster has no hub, which this command asks.",
    "In a bucket: skein list --master shows what is ordered; on a machine, skein ftl list what is there. For a hub: skein hub, then skein init --hub HOST:PORT#KEY.",
  ),
  HUB_UNREACHABLE: entry(
    1,
    "The hub does not answer.",
    "Check that it runs (skein hub, or skein up) and its address.",
  ),
  BAD_REQUEST: entry(2, "The hub cannot read the request.", "Use matching versions of Skein on both sides."),
  REPO_DAMAGED: entry(
    1,
    "A repository on the hub is damaged; the hub and its other repositories go on.",
    "Move its folder away on the hub's machine, then push all branches again.",
  ),
  HEAD_MOVED: entry(
    6,
    "Another deployment of the app came first.",
    "Look at it with skein status and deploy again.",
  ),
  DEPLOY_IN_PROGRESS: entry(
    6,
    "Another deployment of the app is under way.",
    "Wait for it (skein watch) or take it back (skein abort), then deploy again.",
  ),
  APP_NOT_FOUND: entry(7, "No app of that name.", "See skein list."),
  NODE_NOT_FOUND: entry(7, "No node of that name.", "See skein node ls."),
  HUB_CATCHING_UP: entry(
    8,
    "The hub was restored and gathers what its agents know.",
    "Try again in a minute; agents do by themselves.",
  ),
  CODING_UNKNOWN: entry(
    1,
    "A body was coded after an answer that the hub does not remember.",
    "It is sent again in full by itself; if it is not, the two versions of Skein do not fit together.",
  ),
  TOO_MANY: entry(8, "Too much at once for this hub.", "Try again in a moment."),

  // rollout
  DEPLOY_FAILED: entry(
    3,
    "The new version failed and was undone; the old version is healthy.",
    "See the app's last lines above.",
  ),
  UNDO_INCOMPLETE: entry(
    5,
    "The deployment failed and not every node could be taken back.",
    "See skein status; bring the named nodes back.",
  ),
  STAGE_FAILED: entry(
    1,
    "A release could not be placed on every node; nothing that runs was changed.",
    "Mend what the nodes say, and run skein cp again.",
  ),
  DRIFT: entry(1, "A node is not as its order says.", "Repair it: skein repair."),
  NODES_SILENT: entry(
    5,
    "Nodes that were asked are away, or did not answer.",
    "See skein node ls, and run it again when they are back.",
  ),
  REPAIR_INCOMPLETE: entry(
    5,
    "A node could not be brought back to what its order says.",
    "See what each node says, and skein logs; deploy another version where this one is at fault.",
  ),
  NODES_ABSENT: entry(
    5,
    "More nodes are absent than the strategy allows.",
    "Start them, or raise strategy.max_absent.",
  ),

  // agent
  ENV_CONFLICT: entry(
    1,
    "The node holds another environment of this app.",
    "Deploy to other nodes, or stop the other one there: skein stop APP --env OTHER --on NODE.",
  ),
  AGENT_RUNNING: entry(
    1,
    "Another agent runs for this home already.",
    "Stop it, or set SKEIN_HOME to another folder.",
  ),
  NOT_JOINED: entry(
    1,
    "This machine belongs to no cluster yet.",
    "Make a ticket (skein node invite) and run skein agent --join TICKET.",
  ),
  SUPERSEDED: entry(
    6,
    "Another order came before this one switched anything.",
    "Nothing to do; the newer order is carried out.",
  ),
  UNDONE_BY_HUB: entry(3, "The rollout was taken back.", "See why with skein status."),
  HOOK_FAILED: entry(1, "A hook ended with an error.", "See its last lines."),
  HOOK_TIMEOUT: entry(1, "A hook did not end within its time.", "Make it shorter or raise its within."),
  VERIFY_FAILED: entry(1, "The app's own verification failed.", "See its last lines."),
  INSTALL_TAMPERED: entry(1, "An installed file differs from its release.", "Repair it: skein repair."),

  NEEDS_AGENT: entry(
    2,
    "The package runs processes; sync only places files and runs hooks.",
    "Run an agent there: skein agent run --source BUCKET.",
  ),
  LOCK_HELD: entry(
    6,
    "Another process works on the package and does not end.",
    "See who it is in the message; its lock ends with it.",
  ),
  REVISION_ACTIVE: entry(
    1,
    "The revision is active, or what machines go back to; it was not purged.",
    "Jump to another revision first: skein ftl jump --master PACKAGE.REVISION.",
  ),
  BUCKET_STALE: entry(
    5,
    "The bucket says less than this machine has seen of it, or nothing newer within --max-age: it was set back, or is an old copy.",
    "Find out who restored it, then order again where it was ordered last; what runs goes on.",
  ),

  UNIT_FAILED: entry(
    5,
    "A unit of systemd was not installed, or what it starts ends at once.",
    "Read what it printed: journalctl -u UNIT.",
  ),

  // keeper
  KEEPER_UNREACHABLE: entry(1, "The keeper does not answer.", "Start its unit; skein agent run starts one."),
  KEEPER_PROTOCOL: entry(
    1,
    "Keeper and agent speak different versions.",
    "Restart the keeper when it suits.",
  ),
  PORT_TAKEN: entry(1, "Another program listens on the port.", "Stop it or choose another port."),
  START_FAILED: entry(1, "The app's process could not be started.", "Check the command in skein.yaml."),
  APP_EXITED: entry(1, "The app ended before it was ready.", "See its last lines."),
  HEALTH_TIMEOUT: entry(
    1,
    "The app was not ready in time.",
    "Where it only starts slowly, raise health.ready.within in skein.yaml.",
  ),
  SOCKET_NOT_TAKEN: entry(
    1,
    "The app did not take the socket that was passed to it.",
    "Let it listen on $PORT (under Node) or take fd 3 (LISTEN_FDS), or say listen: { http: { port: 8080, handover: gap } }. Where it only starts slowly, raise health.ready.within.",
  ),
  HANDOVER_REFUSED: entry(
    2,
    "This hand-over cannot keep its promise here.",
    "Let versions overlap, or leave --keep-old and beside out; give all sockets of a process the same handover; where sockets cannot be held, use handover: port or gap.",
  ),
  GATE_UNSEEN: entry(
    1,
    "It could not be seen whether the new process waits on its socket.",
    "Nothing to do; it held the socket and lived two seconds.",
  ),
  CONNECTIONS_CUT: entry(
    1,
    "Connections were cut when the old version's drain ran out.",
    "Let the app close them on its signal, or raise drain.within.",
  ),
  RESTART_LIMIT: entry(
    1,
    "The process crashed too often and is left stopped.",
    "See its log, then skein restart.",
  ),
  USER_REFUSED: entry(
    1,
    "The app cannot be run as that user here, or others may write to a folder that root is to write to.",
    "Run the agent as root, and make the user there, or leave user out: the app then gets one of its own. Or close the folder named.",
  ),
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof ERROR_CODES;
