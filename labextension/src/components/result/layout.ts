// A layered drawing of a graph without cycles: rows by longest path, few crossings, parents above their children.

export interface Node {
  id: string;
  inputs: string[];
}

export interface Placed {
  id: string;
  x: number;
  y: number;
}

/** The way of an edge: its points, from the bottom of one node to the top of another. */
export interface Edge {
  from: string;
  to: string;
  points: [number, number][];
}

export interface Layout {
  nodes: Placed[];
  edges: Edge[];
  width: number;
  height: number;
}

export interface Sizes {
  width: number;
  height: number;
  gapX: number;
  gapY: number;
}

interface Cell {
  id: string;
  rank: number;
  order: number;
  x: number;
  /** A place that an edge passes through on its way over several rows. */
  through: boolean;
  up: Cell[];
  down: Cell[];
}

const CELLS = 20_000; // of all edges; those of a graph that has more of them are not all drawn
const SWEEPS = 8;
const PLACED = 24; // sweeps until cells stand still
const THROUGH = 0.25; // of a node's width, for an edge that passes

export function layout(nodes: Node[], sizes: Sizes): Layout {
  const cells = rank(nodes);
  let room = CELLS;
  const edges = nodes.flatMap((node) =>
    node.inputs.flatMap((input) => {
      const found = room > 0 ? route(cells, input, node.id) : [];
      for (const path of found) room -= path.length;
      return found;
    }),
  );
  const rows = inRows(
    [...cells.values()],
    edges.flatMap((edge) => edge.slice(1, -1)),
  );
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) reorder(rows, sweep % 2 === 0);
  place(rows, sizes);
  for (const edge of edges) straighten(rows, edge, sizes);
  const inset = (cell: Cell): number => (cell.through ? sizes.width / 2 - sizes.gapX : 0);
  const left = Math.min(...rows.flat().map((cell) => cell.x + inset(cell)));
  const right = Math.max(...rows.flat().map((cell) => cell.x + sizes.width - inset(cell)));
  const y = (cell: Cell): number => cell.rank * (sizes.height + sizes.gapY);
  const middle = (cell: Cell): number => cell.x - left + sizes.width / 2;
  return {
    nodes: [...cells.values()].map((cell) => ({ id: cell.id, x: cell.x - left, y: y(cell) })),
    edges: edges.map((path) => ({
      from: path[0]?.id ?? "",
      to: path.at(-1)?.id ?? "",
      points: path.flatMap((cell, index): [number, number][] => {
        const x = middle(cell);
        if (cell.through) return [[x, y(cell) + sizes.height / 2]];
        return index === 0 ? [[x, y(cell) + sizes.height]] : [[x, y(cell)]];
      }),
    })),
    width: rows.length ? right - left : 0,
    height: Math.max(0, rows.length * (sizes.height + sizes.gapY) - sizes.gapY),
  };
}

/** A cell for each node, one row below the lowest of its inputs; inputs that are not in the graph do not count. */
function rank(nodes: Node[]): Map<string, Cell> {
  const cells = new Map<string, Cell>();
  const known = new Map(nodes.map((node) => [node.id, node]));
  const visit = (node: Node, trail: Set<string>): number => {
    const done = cells.get(node.id);
    if (done) return done.rank;
    trail.add(node.id);
    let lowest = -1;
    for (const input of node.inputs) {
      const above = known.get(input);
      if (above && !trail.has(input)) lowest = Math.max(lowest, visit(above, trail));
    }
    trail.delete(node.id);
    cells.set(node.id, { id: node.id, rank: lowest + 1, order: cells.size, x: 0, through: false, up: [], down: [] });
    return lowest + 1;
  };
  for (const node of nodes) visit(node, new Set());
  // A source stands right above the first that needs it, so that no edge is longer than it has to be.
  for (const cell of cells.values()) {
    if (known.get(cell.id)?.inputs.some((input) => cells.has(input))) continue;
    const users = nodes.filter((node) => node.inputs.includes(cell.id)).map((node) => cells.get(node.id)?.rank ?? 1);
    if (users.length) cell.rank = Math.max(0, Math.min(...users) - 1);
  }
  return cells;
}

/** The cells from one node to another, one a row. */
function route(cells: Map<string, Cell>, input: string, to: string): Cell[][] {
  const [from, end] = [cells.get(input), cells.get(to)];
  if (!from || !end || from.rank >= end.rank) return [];
  const path = [from];
  for (let at = from.rank + 1; at < end.rank; at += 1)
    path.push({ id: "", rank: at, order: from.order, x: 0, through: true, up: [], down: [] });
  path.push(end);
  path.forEach((cell, index) => {
    const next = path[index + 1];
    if (!next) return;
    cell.down.push(next);
    next.up.push(cell);
  });
  return [path];
}

function inRows(cells: Cell[], passing: Cell[]): Cell[][] {
  const rows: Cell[][] = [];
  for (const cell of [...cells, ...passing]) (rows[cell.rank] ??= []).push(cell);
  for (const row of rows) renumber(row.sort((a, b) => a.order - b.order));
  return rows;
}

function renumber(row: Cell[]): void {
  row.forEach((cell, index) => (cell.order = index));
}

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Each row in the order of the middles of what its cells are joined to, in the row before. */
function reorder(rows: Cell[][], down: boolean): void {
  for (const row of down ? rows : [...rows].reverse()) {
    const wish = new Map(
      row.map((cell) => {
        const joined = down ? cell.up : cell.down;
        return [cell, joined.length ? mean(joined.map((one) => one.order)) : cell.order];
      }),
    );
    renumber(row.sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0)));
  }
}

/** Where a cell wants to be; what passes wants to go straight on. */
function wished(cell: Cell, joined: Cell[]): number {
  const weight = (one: Cell): number => (cell.through && one.through ? 8 : cell.through || one.through ? 0.5 : 1);
  const sum = joined.reduce((all, one) => all + weight(one), 0);
  return joined.reduce((all, one) => all + weight(one) * one.x, 0) / sum;
}

/** How far the middles of two cells beside each other are apart, at least. */
function distance(a: Cell, b: Cell, sizes: Sizes): number {
  const wide = (cell: Cell): number => (cell.through ? sizes.width * THROUGH : sizes.width);
  return (wide(a) + wide(b)) / 2 + sizes.gapX;
}

/** An edge over several rows goes straight through them, where there is a gap through all of them. */
function straighten(rows: Cell[][], edge: Cell[], sizes: Sizes): void {
  const passing = edge.slice(1, -1);
  if (!passing.length) return;
  let [low, high] = [-Infinity, Infinity];
  for (const cell of passing) {
    const [before, after] = [rows[cell.rank]?.[cell.order - 1], rows[cell.rank]?.[cell.order + 1]];
    if (before) low = Math.max(low, before.x + distance(before, cell, sizes));
    if (after) high = Math.min(high, after.x - distance(cell, after, sizes));
  }
  if (low > high) return;
  const wish = mean(edge.map((cell) => cell.x));
  for (const cell of passing) cell.x = Math.max(low, Math.min(high, wish));
}

/** Cells as near to the middle of what they are joined to as those beside them let them be. */
function place(rows: Cell[][], sizes: Sizes): void {
  const apart = (a: Cell, b: Cell): number => distance(a, b, sizes);
  for (const row of rows)
    row.forEach(
      (cell, index) => (cell.x = index ? (row[index - 1] as Cell).x + apart(row[index - 1] as Cell, cell) : 0),
    );
  for (let sweep = 0; sweep < PLACED; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows : [...rows].reverse()) {
      const wish = row.map((cell) => {
        const joined = down ? cell.up : cell.down;
        return joined.length ? wished(cell, joined) : cell.x;
      });
      // The mean of the tightest packing to the left and to the right is the fair one.
      const left = [...wish];
      const right = [...wish];
      for (let at = 1; at < row.length; at += 1)
        left[at] = Math.max(left[at] as number, (left[at - 1] as number) + apart(row[at - 1] as Cell, row[at] as Cell));
      for (let at = row.length - 2; at >= 0; at -= 1)
        right[at] = Math.min(
          right[at] as number,
          (right[at + 1] as number) - apart(row[at] as Cell, row[at + 1] as Cell),
        );
      row.forEach((cell, at) => (cell.x = ((left[at] as number) + (right[at] as number)) / 2));
    }
  }
}
