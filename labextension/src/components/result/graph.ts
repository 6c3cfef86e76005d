// The Graph tab: the build's graph as a drawing to scroll, zoom and walk with the arrow keys.

import { fill, h, svg } from "../../dom";
import type { Summary, Vertex } from "../../model";
import { nameParts, stepName } from "../../words";
import { icon } from "../shared/icons";
import type { Panel } from "../shared/tabs";
import { layout } from "./layout";
import type { Node, Sizes } from "./layout";
import { stateOf, stepDetails, took } from "./step";
import type { View } from "./view";

const SIZES: Sizes = { width: 196, height: 46, gapX: 16, gapY: 28 };
const PAD = 12;
const LETTERS = 26; // of the code font, in the width of a node
const [SMALLEST, LARGEST] = [0.25, 2];

const isExport = (vertex: Vertex): boolean =>
  (vertex.kind || nameParts(vertex.name).kind) === "export";

/** Vertices with what they need. What prepares a build is no part of its graph; an export needs its last steps. */
export function graphOf(summary: Summary): { nodes: Node[]; vertexes: Map<string, Vertex> } {
  const all = summary.vertexes ?? [];
  const used = new Set(all.flatMap((vertex) => vertex.inputs ?? []));
  const joined = all.filter(
    (vertex) =>
      used.has(vertex.digest) || vertex.inputs?.length || isExport(vertex) || !vertex.name.startsWith("[internal]"),
  );
  const ends = joined.filter((vertex) => !used.has(vertex.digest) && !isExport(vertex));
  const nodes = joined.map((vertex) => ({
    id: vertex.digest,
    inputs: isExport(vertex) && !vertex.inputs?.length ? ends.map((end) => end.digest) : [...new Set(vertex.inputs)],
  }));
  return { nodes, vertexes: new Map(joined.map((vertex) => [vertex.digest, vertex])) };
}

const cut = (text: string, letters: number): string =>
  text.length > letters ? `${text.slice(0, letters - 1)}…` : text;

/** A line through points that leaves the first and reaches the last straight down, and bends at none of them. */
function curve(points: [number, number][]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  // The harmonic mean of the slopes on both sides, so that it never swings beyond a point (Fritsch and Carlson, 1980).
  const slope = (at: number): number => {
    const [before, here, after] = [points[at - 1], points[at], points[at + 1]];
    if (!before || !here || !after) return 0;
    const above = (here[0] - before[0]) / (here[1] - before[1]);
    const below = (after[0] - here[0]) / (after[1] - here[1]);
    return above * below > 0 ? (2 * above * below) / (above + below) : 0;
  };
  let path = `M${first[0]} ${first[1]}`;
  rest.forEach(([x, y], index) => {
    const [fromX, fromY] = points[index] ?? first;
    const third = (y - fromY) / (rest.length === 1 ? 2 : 3);
    path += `C${fromX + third * slope(index)} ${fromY + third} ${x - third * slope(index + 1)} ${y - third} ${x} ${y}`;
  });
  return path;
}

function box(vertex: Vertex): SVGGElement {
  const name = stepName(vertex.name);
  const state = stateOf(vertex);
  const stage = [vertex.stage || name.stage, name.place].filter(Boolean).join(" ");
  const time = took(vertex);
  const head = cut(stage || (isExport(vertex) ? "export" : "source"), 18);
  const shown = cut(name.text, LETTERS);
  return svg(
    "g",
    {
      class: `pbr-node pbr-is-${state}`,
      role: "button",
      tabindex: -1,
      "aria-description": shown === name.text ? null : name.text,
      "aria-pressed": "false",
    },
    svg("rect", { width: SIZES.width, height: SIZES.height, rx: 6 }),
    svg("rect", { class: "pbr-node-mark", width: 4, height: SIZES.height - 12, x: 5, y: 6, rx: 2 }),
    svg("text", { class: "pbr-node-stage", x: 16, y: 17 }, head),
    " ", // between the words of its name for those who hear it
    svg("text", { class: "pbr-node-time", x: SIZES.width - 10, y: 17, "text-anchor": "end" }, time),
    " ",
    svg("text", { class: "pbr-node-name", x: 16, y: 35 }, shown),
  );
}

export function graphTab(view: View): Panel {
  const { nodes, vertexes } = graphOf(view.summary);
  const plan = layout(nodes, SIZES);
  const [width, height] = [plan.width + 2 * PAD, plan.height + 2 * PAD];
  const boxes = new Map<string, SVGGElement>();
  const lines = plan.edges.map((edge) => ({ edge, path: svg("path", { class: "pbr-edge", d: curve(edge.points) }) }));
  for (const { id, x, y } of plan.nodes) {
    const vertex = vertexes.get(id);
    if (!vertex) continue;
    const node = box(vertex);
    node.setAttribute("transform", `translate(${x} ${y})`);
    node.addEventListener("click", () => select(id));
    boxes.set(id, node);
  }
  const drawing = svg(
    "svg",
    { viewBox: `${-PAD} ${-PAD} ${width} ${height}`, role: "group", "aria-label": "Graph of the build" },
    lines.map(({ path }) => path),
    [...boxes.values()],
  );
  const canvas = h("div", { class: "pbr-canvas" }, drawing);
  const side = h("div", { class: "pbr-side", "aria-live": "polite" });
  let zoom = 1;
  let current = "";

  function scale(to: number): void {
    zoom = Math.max(SMALLEST, Math.min(LARGEST, to));
    drawing.setAttribute("width", String(width * zoom));
    drawing.setAttribute("height", String(height * zoom));
  }

  function focusable(id: string): void {
    boxes.forEach((node, one) => node.setAttribute("tabindex", one === id ? "0" : "-1"));
  }

  function select(id: string): void {
    const vertex = vertexes.get(id);
    if (!vertex) return;
    current = id;
    focusable(id);
    boxes.forEach((node, one) => node.setAttribute("aria-pressed", String(one === id)));
    for (const { edge, path } of lines) path.classList.toggle("pbr-edge-on", edge.from === id || edge.to === id);
    fill(side, stepDetails(view, vertex, reveal));
  }

  function reveal(id: string): void {
    select(id);
    const node = boxes.get(id);
    node?.focus({ preventScroll: true });
    node?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  const middles = new Map(plan.nodes.map((node) => [node.id, node]));

  /** The nearest node in a direction, those that are joined first. */
  function neighbour(id: string, key: string): string | undefined {
    const here = middles.get(id);
    if (!here) return undefined;
    const joined = new Set(
      plan.edges.flatMap((edge) => (edge.from === id ? [edge.to] : edge.to === id ? [edge.from] : [])),
    );
    const side = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[key];
    if (!side) return undefined;
    const [dx = 0, dy = 0] = side;
    return plan.nodes
      .filter((node) => (dx ? node.y === here.y && (node.x - here.x) * dx > 0 : (node.y - here.y) * dy > 0))
      .map((node) => ({
        id: node.id,
        far: Math.abs(node.x - here.x) + 3 * Math.abs(node.y - here.y) - (joined.has(node.id) ? 1e5 : 0),
      }))
      .sort((a, b) => a.far - b.far)[0]?.id;
  }

  canvas.addEventListener("keydown", (event) => {
    const at = [...boxes].find(([, node]) => node === event.target)?.[0];
    if (!at) return;
    const to = neighbour(at, event.key);
    if (to) {
      focusable(to);
      boxes.get(to)?.focus();
    } else if (event.key === "Enter" || event.key === " ") select(at);
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
  });
  drag(canvas);

  const tool = (sign: "plus" | "minus" | "fit", label: string, act: () => void): HTMLElement =>
    h(
      "button",
      { type: "button", class: "pbr-button pbr-square", "aria-label": label, title: label, onclick: act },
      icon(sign),
    );
  const tools = h(
    "div",
    { class: "pbr-zoom" },
    tool("minus", "Smaller", () => scale(zoom / 1.25)),
    tool("plus", "Larger", () => scale(zoom * 1.25)),
    tool("fit", "All of it", () =>
      scale(Math.min(1, (canvas.clientWidth - 2) / width, (canvas.clientHeight - 2) / height)),
    ),
  );
  const legend = h(
    "div",
    { class: "pbr-legend" },
    h("span", { class: "pbr-swatch pbr-swatch-done" }),
    "ran",
    h("span", { class: "pbr-swatch pbr-swatch-cached" }),
    "cached",
  );
  scale(1);
  // What one looks for first: the step that failed, or the one that took longest.
  const all = [...vertexes.values()];
  const slowest = all.reduce<Vertex | undefined>(
    (most, one) => ((one.seconds ?? 0) > (most?.seconds ?? 0) ? one : most),
    undefined,
  );
  select((all.find((vertex) => vertex.error) ?? slowest ?? all[0])?.digest ?? "");
  requestAnimationFrame(() => {
    if (!canvas.clientWidth) return;
    scale(Math.min(1, (canvas.clientWidth - 2) / width, (canvas.clientHeight - 2) / height));
    canvas.scrollLeft = (canvas.scrollWidth - canvas.clientWidth) / 2;
  });
  return {
    node: h(
      "div",
      { class: "pbr-graph" },
      h("div", { class: "pbr-tools" }, legend, tools),
      h("div", { class: "pbr-split pbr-graph-split" }, canvas, side),
    ),
    reveal: (id) => current !== id && reveal(id),
  };
}

/** The drawing follows the pointer that holds it. */
function drag(canvas: HTMLElement): void {
  let from: { x: number; y: number; left: number; top: number } | null = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button !== 0) return;
    from = { x: event.clientX, y: event.clientY, left: canvas.scrollLeft, top: canvas.scrollTop };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from || !event.buttons) return void (from = null);
    canvas.scrollLeft = from.left - (event.clientX - from.x);
    canvas.scrollTop = from.top - (event.clientY - from.y);
  });
}
