/** Who a node is, by what its documents prove and not by what a hub says. */
import type { NodeDocuments } from "../../api/member-schemas.ts";
import type { NodeView } from "../../api/schemas.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { droppedSigners, underChain } from "../../trust/charter/chain.ts";
import { openBirth, openLabel, openTicket, relabelled, type Identity } from "../../trust/members/identity.ts";
import { chainOf, type Operator } from "../identity/operator.ts";
import { shown } from "../identity/shown.ts";

/** A node that was let in by somebody whom a charter has dropped since: no member any more. */
export interface FormerNode {
  readonly identity: Identity;
  readonly invitedBy: string;
}

/** @throws SkeinError where the documents prove no identity, or another node's */
export function identityIn(operator: Operator, node: NodeView, documents: NodeDocuments): Identity {
  const { identity } = openBirth(operator.charter, documents, { pin: operator.pin });
  return asNow(operator, node, documents, identity);
}

/** As nodes have it: a label that was accepted stays when a charter drops who signed it. */
function asNow(operator: Operator, node: Listed, documents: NodeDocuments, born: Identity): Identity {
  if (born.node !== node.node) {
    throw new SkeinError("DOC_UNSIGNED", `the hub shows another node's documents for ${node.name}`, {
      data: { node: node.node, found: born.node },
    });
  }
  const { label } = documents;
  if (label === null) return born;
  const now = operator.clock.now();
  const { opened } = underChain(chainOf(operator), (charter) => openLabel(charter, label, born, now));
  return relabelled(born, opened);
}

type Listed = Pick<NodeView, "node" | "name">;

/**
 * @returns undefined where the charter in force has who invited it, whatever the hub says
 * @throws SkeinError where the documents prove no identity, or another node's
 */
export async function formerNode(
  operator: Operator,
  node: Listed,
  signal: AbortSignal,
): Promise<FormerNode | undefined> {
  const { client, pin } = operator;
  const chain = chainOf(operator);
  const documents = await client.nodeDocuments(node.node, signal);
  return shown(`a node ${node.name}`, () => {
    const upheld = underChain(chain, (charter) => ({
      ...openTicket(charter, documents.ticket, { pin }),
      birth: openBirth(charter, documents, { pin }),
    }));
    const invitedBy = droppedSigners(chain, upheld);
    if (invitedBy === null) return undefined;
    return { identity: asNow(operator, node, documents, upheld.opened.birth.identity), invitedBy };
  });
}
