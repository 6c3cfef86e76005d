// Long chains of steps, of which a drawing of the graph shows the ends: what is between them is one node until it is opened.

import type { Node } from "./layout";

const LEAST = 5; // nodes that are worth to be folded

export interface Folded {
  nodes: Node[];
  /** By the id of the node that stands for them: the nodes of a chain, from the top. */
  chains: Map<string, string[]>;
}

/** The chains of nodes that have one input and one user in their own lane, without their ends; none of `kept` is in one. */
export function chainsOf(nodes: Node[], kept: ReadonlySet<string>): string[][] {
  const known = new Map(nodes.map((node) => [node.id, node]));
  const users = new Map<string, string[]>();
  for (const { id, inputs } of nodes) for (const input of inputs) users.set(input, [...(users.get(input) ?? []), id]);
  const inner = (node: Node): boolean => {
    const [above, ...others] = node.inputs.flatMap((input) => known.get(input) ?? []);
    const [below, ...more] = (users.get(node.id) ?? []).flatMap((user) => known.get(user) ?? []);
    const isPlain = above && below && !others.length && !more.length;
    return Boolean(isPlain && above.lane === node.lane && below.lane === node.lane && !kept.has(node.id));
  };
  const plain = new Set(nodes.filter(inner).map((node) => node.id));
  const chains: string[][] = [];
  for (const id of plain) {
    if (plain.has(known.get(id)?.inputs[0] ?? "")) continue; // not the uppermost
    const chain = [id];
    for (let next = users.get(id)?.[0]; next !== undefined && plain.has(next) && chain.length <= plain.size; ) {
      chain.push(next);
      next = users.get(next)?.[0];
    }
    if (chain.length >= LEAST) chains.push(chain);
  }
  return chains;
}

/** The graph with a node in the place of each chain; it has the id of the chain's first node, with a mark. */
export function fold(nodes: Node[], chains: string[][]): Folded {
  const named = new Map(chains.map((chain) => [`+${chain[0] ?? ""}`, chain]));
  const place = new Map(chains.flatMap((chain) => chain.map((id): [string, string] => [id, `+${chain[0] ?? ""}`])));
  const folded = nodes.flatMap((node) => {
    const stand = place.get(node.id);
    const inputs = node.inputs.map((input) => place.get(input) ?? input);
    if (!stand) return [{ ...node, inputs }];
    return node.id === named.get(stand)?.[0] ? [{ ...node, id: stand, inputs }] : [];
  });
  return { nodes: folded, chains: named };
}
