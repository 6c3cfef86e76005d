// The layout of an acyclic graph: a lane for each group of nodes, inputs above their users, and edges in the gaps between
// columns and rows, so that none crosses a node.

export interface Node {
  id: string;
  inputs: string[];
  /** The lane of the node. */
  lane: string;
}

export interface Placed {
  id: string;
  x: number;
  y: number;
}

/** The corners of an edge, from the bottom of one node to the top of another. */
export interface Edge {
  from: string;
  to: string;
  points: [number, number][];
}

export interface Lane {
  name: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  nodes: Placed[];
  edges: Edge[];
  lanes: Lane[];
  width: number;
  height: number;
}

export interface Sizes {
  width: number;
  height: number;
  gapX: number;
  gapY: number;
  /** The height of a lane's title. */
  title: number;
}

interface Cell extends Node {
  rank: number;
  x: number;
  y: number;
  /** Where the row above it ends. */
  above: number;
  column: Column;
}

/** Lanes below each other. */
interface Column {
  x: number;
  width: number;
  /** The rows that its lanes take. */
  taken: [first: number, last: number][];
}

const EDGES = 5_000; // edges that are drawn at most
const TRACKS = 5; // edges side by side in a gap, before they overlap

export function layout(nodes: Node[], sizes: Sizes): Layout {
  const cells = ranked(nodes);
  const { lanes, columns } = inLanes([...cells.values()], sizes);
  const edges = nodes.flatMap(({ id, inputs }) =>
    inputs.flatMap((input): [Cell, Cell][] => {
      const [from, to] = [cells.get(input), cells.get(id)];
      return from && to && from.rank < to.rank ? [[from, to]] : [];
    }),
  );
  const tracks = new Map<string, number>();
  const last = columns.at(-1);
  return {
    nodes: [...cells.values()].map(({ id, x, y }) => ({ id, x, y })),
    edges: edges.slice(0, EDGES).map(([from, to]) => ({ from: from.id, to: to.id, points: way(from, to, sizes, tracks) })),
    lanes,
    width: last ? last.x + last.width : 0,
    height: Math.max(0, ...lanes.map((lane) => lane.y + lane.height)),
  };
}

/** Return a cell for each node, one row below the lowest of its inputs that are in the graph. */
function ranked(nodes: Node[]): Map<string, Cell> {
  const cells = new Map<string, Cell>();
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const visit = (node: Node, trail: Set<string>): number => {
    const placed = cells.get(node.id);
    if (placed) return placed.rank;
    trail.add(node.id);
    let lowest = -1;
    for (const input of node.inputs) {
      const source = byId.get(input);
      if (source && !trail.has(input)) lowest = Math.max(lowest, visit(source, trail));
    }
    trail.delete(node.id);
    cells.set(node.id, { ...node, rank: lowest + 1, x: 0, y: 0, above: 0, column: { x: 0, width: 0, taken: [] } });
    return lowest + 1;
  };
  for (const node of nodes) visit(node, new Set());
  // A source stands right above its first user, to keep edges short.
  const first = new Map<string, number>();
  for (const { rank, inputs } of cells.values())
    for (const input of inputs) first.set(input, Math.min(first.get(input) ?? Infinity, rank));
  for (const cell of cells.values()) {
    const user = first.get(cell.id);
    if (user !== undefined && !cell.inputs.some((input) => cells.has(input))) cell.rank = Math.max(0, user - 1);
  }
  return cells;
}

/** Return the lanes, each after those that it needs. */
function inOrder(cells: Cell[]): Map<string, Cell[]> {
  const members = new Map<string, Cell[]>();
  for (const cell of cells) members.set(cell.lane, [...(members.get(cell.lane) ?? []), cell]);
  const laneOf = new Map(cells.map((cell) => [cell.id, cell.lane]));
  const ordered = new Map<string, Cell[]>();
  const visit = (lane: string, trail: Set<string>): void => {
    if (ordered.has(lane) || trail.has(lane)) return;
    trail.add(lane);
    const own = members.get(lane) ?? [];
    for (const input of own.flatMap((cell) => cell.inputs)) {
      const other = laneOf.get(input);
      if (other !== undefined && other !== lane) visit(other, trail);
    }
    ordered.set(lane, own);
  };
  for (const lane of members.keys()) visit(lane, new Set());
  return ordered;
}

/** Place each lane in the first column where its rows are free, and each cell in its lane. */
function inLanes(cells: Cell[], sizes: Sizes): { lanes: Lane[]; columns: Column[] } {
  const step = sizes.width + sizes.gapX;
  const columns: Column[] = [];
  const starts = new Set<number>();
  const placed = [...inOrder(cells)].map(([name, members]) => {
    const rows = new Map<number, Cell[]>();
    for (const cell of members) rows.set(cell.rank, [...(rows.get(cell.rank) ?? []), cell]);
    const [first, last] = [Math.min(...rows.keys()), Math.max(...rows.keys())];
    let column = columns.find(({ taken }) => taken.every(([begin, end]) => last < begin || first > end));
    if (!column) columns.push((column = { x: 0, width: 0, taken: [] }));
    column.taken.push([first, last]);
    column.width = Math.max(column.width, Math.max(...[...rows.values()].map((row) => row.length)) * step + sizes.gapX);
    for (const cell of members) cell.column = column;
    starts.add(first);
    return { name, rows, first, last, column };
  });
  let left = 0;
  for (const column of columns) {
    column.x = left;
    left += column.width + sizes.gapX;
  }
  // A row in which a lane begins leaves room for its title.
  const tops: number[] = [];
  let top = 0;
  for (let rank = 0; rank <= Math.max(-1, ...cells.map((cell) => cell.rank)); rank += 1) {
    if (starts.has(rank)) top += sizes.title;
    tops.push(top);
    top += sizes.height + sizes.gapY;
  }
  const lanes = placed.map(({ name, rows, first, last, column }) => {
    for (const [rank, row] of rows) {
      const begin = column.x + (column.width - row.length * step + sizes.gapX) / 2;
      const above = (tops[rank - 1] ?? 0) + sizes.height;
      row.forEach((cell, index) => Object.assign(cell, { x: begin + index * step, y: tops[rank] ?? 0, above }));
    }
    const y = (tops[first] ?? 0) - sizes.title;
    const bottom = (tops[last] ?? 0) + sizes.height + sizes.gapY / 4;
    return { name, x: column.x, y, width: column.width, height: bottom - y };
  });
  return { lanes, columns };
}

/** Return the way from a cell to one below: through the gaps between rows, and beside the target's column where it passes rows. */
function way(from: Cell, to: Cell, sizes: Sizes, tracks: Map<string, number>): [number, number][] {
  const [bottom, top] = [from.y + sizes.height, to.y];
  const [begin, end] = [from.x + sizes.width / 2, to.x + sizes.width / 2];
  const leave = bottom + sizes.gapY / 2;
  if (to.rank === from.rank + 1 && begin === end) return [[begin, bottom], [end, top]];
  if (to.rank === from.rank + 1) return [[begin, bottom], [begin, leave], [end, leave], [end, top]];
  const { x, width } = to.column;
  const isLeft = begin <= end;
  // Edges from other sources on the same side have tracks of their own.
  const key = `${x} ${isLeft} ${from.id}`;
  const track = tracks.get(key) ?? tracks.size % TRACKS;
  tracks.set(key, track);
  const inset = ((track + 0.5) / TRACKS) * sizes.gapX;
  const side = isLeft ? x + inset : x + width - inset;
  // It enters right below the row above the target, where there is no title.
  const arrive = to.above + sizes.gapY / 2;
  return [[begin, bottom], [begin, leave], [side, leave], [side, arrive], [end, arrive], [end, top]];
}
