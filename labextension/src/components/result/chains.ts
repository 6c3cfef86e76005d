// Long chains of steps. The graph shows their ends; the nodes between are folded into one until a reader opens it.

import type { Node } from "./layout";

const LEAST = 5; // nodes from which a chain is folded

export interface Folded {
  nodes: Node[];
  /** The nodes of each chain from the top, by the id of the node that stands for it. */
  chains: Map<string, string[]>;
}

/** Return the chains of nodes with one input and one user in their own lane, without the ends and without `keep`. */
export function chainsOf(nodes: Node[], keep: ReadonlySet<string>): string[][] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const users = new Map<string, string[]>();
  for (const { id, inputs } of nodes) for (const input of inputs) users.set(input, [...(users.get(input) ?? []), id]);
  const inner = (node: Node): boolean => {
    const [above, ...others] = node.inputs.flatMap((input) => byId.get(input) ?? []);
    const [below, ...more] = (users.get(node.id) ?? []).flatMap((user) => byId.get(user) ?? []);
    const isPlain = above && below && !others.length && !more.length;
    return Boolean(isPlain && above.lane === node.lane && below.lane === node.lane && !keep.has(node.id));
  };
  const plain = new Set(nodes.filter(inner).map((node) => node.id));
  const chains: string[][] = [];
  for (const id of plain) {
    if (plain.has(byId.get(id)?.inputs[0] ?? "")) continue; // not the uppermost
    const chain = [id];
    for (let next = users.get(id)?.[0]; next !== undefined && plain.has(next) && chain.length <= plain.size; ) {
      chain.push(next);
      next = users.get(next)?.[0];
    }
    if (chain.length >= LEAST) chains.push(chain);
  }
  return chains;
}

/** Return the graph with a node for each chain, whose id is that of the chain's first node with a mark. */
export function fold(nodes: Node[], chains: string[][]): Folded {
  const chainsById = new Map(chains.map((chain) => [`+${chain[0] ?? ""}`, chain]));
  const place = new Map(chains.flatMap((chain) => chain.map((id): [string, string] => [id, `+${chain[0] ?? ""}`])));
  const folded = nodes.flatMap((node) => {
    const stand = place.get(node.id);
    const inputs = node.inputs.map((input) => place.get(input) ?? input);
    if (!stand) return [{ ...node, inputs }];
    return node.id === chainsById.get(stand)?.[0] ? [{ ...node, id: stand, inputs }] : [];
  });
  return { nodes: folded, chains: chainsById };
}
