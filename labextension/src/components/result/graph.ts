// The Graph tab: a lane for each stage, with its steps from top to bottom. It scrolls, zooms, and follows arrow keys.

import { fill, h, svg } from "../../dom";
import type { Summary, Vertex } from "../../model";
import { icon } from "../shared/icons";
import type { Panel } from "../shared/tabs";
import { chainsOf, fold } from "./chains";
import { PAD, SIZES, box, faceOf, faceOfChain, isExport, laneBox, laneOf, line } from "./graphparts";
import { layout } from "./layout";
import type { Edge, Node } from "./layout";
import { stepDetails } from "./step";
import type { View } from "./view";

const [SMALLEST, LARGEST] = [0.25, 2];
const READABLE = 0.75;
const [LOWEST, TALLEST] = [240, 600]; // pixels of the height of the box around the drawing

/** Return vertices with their inputs. Preparations of a build are no part of its graph; an export needs its last steps. */
export function graphOf(summary: Summary): { nodes: Node[]; vertexes: Map<string, Vertex> } {
  const known = summary.vertexes ?? [];
  const used = new Set(known.flatMap((vertex) => vertex.inputs ?? []));
  const drawn = known.filter(
    (vertex) =>
      used.has(vertex.digest) || vertex.inputs?.length || isExport(vertex) || !vertex.name.startsWith("[internal]"),
  );
  const vertexes = new Map(drawn.map((vertex) => [vertex.digest, vertex]));
  const ends = drawn.filter((vertex) => !used.has(vertex.digest) && !isExport(vertex));
  const nodes = drawn.map((vertex) => {
    const inputs =
      isExport(vertex) && !vertex.inputs?.length ? ends.map((end) => end.digest) : [...new Set(vertex.inputs)];
    // An export stands below its input, and a vertex without a stage above the first step that needs it.
    const above = isExport(vertex) ? vertexes.get(inputs.at(-1) ?? "") : undefined;
    const below = laneOf(vertex) ? undefined : drawn.find((user) => user.inputs?.includes(vertex.digest));
    return { id: vertex.digest, inputs, lane: laneOf(above ?? below ?? vertex) };
  });
  return { nodes, vertexes };
}

export function graphTab(view: View): Panel {
  const { nodes: all, vertexes } = graphOf(view.summary);
  // The step that a reader looks for first, failed or slowest, is in no folded chain.
  const steps = [...vertexes.values()];
  const slowest = steps.reduce<Vertex | undefined>(
    (longest, step) => ((step.seconds ?? 0) > (longest?.seconds ?? 0) ? step : longest),
    undefined,
  );
  const failed = steps.filter((vertex) => vertex.error).map((vertex) => vertex.digest);
  const start = failed[0] ?? slowest?.digest ?? steps[0]?.digest ?? "";
  const chains = chainsOf(all, new Set([...failed, start]));
  let folded = chains; // the chains that are a single node now
  let visible = fold(all, folded);
  let plan = layout(visible.nodes, SIZES);
  let [width, height] = [0, 0];
  let boxes = new Map<string, SVGGElement>();
  let lines: { edge: Edge; path: SVGPathElement }[] = [];
  const drawing = svg("svg", { role: "group", "aria-label": "Graph of the build" });
  const canvas = h("div", { class: "pbr-canvas" }, drawing);
  const side = h("div", { class: "pbr-side", "aria-live": "polite" });
  let zoom = 1;
  let isFitted = true; // until the reader zooms
  let current = "";

  function draw(): void {
    visible = fold(all, folded);
    plan = layout(visible.nodes, SIZES);
    [width, height] = [plan.width + 2 * PAD, plan.height + 2 * PAD];
    lines = plan.edges.map((edge) => ({ edge, path: svg("path", { class: "pbr-edge", d: line(edge.points) }) }));
    boxes = new Map();
    for (const { id, x, y } of plan.nodes) {
      const chain = visible.chains.get(id);
      const members = (chain ?? [id]).flatMap((digest) => vertexes.get(digest) ?? []);
      const [vertex] = members;
      if (!vertex) continue;
      const node = box(chain ? faceOfChain(members) : faceOf(vertex), Boolean(chain));
      node.setAttribute("transform", `translate(${x} ${y})`);
      node.addEventListener("click", () => press(id));
      boxes.set(id, node);
    }
    drawing.setAttribute("viewBox", `${-PAD} ${-PAD} ${width} ${height}`);
    fill(
      drawing,
      plan.lanes.map(laneBox),
      lines.map(({ path }) => path),
      [...boxes.values()],
    );
    if (folds) fill(folds, folded.length ? "Unfold" : "Fold");
    folds?.setAttribute("aria-pressed", String(!folded.length));
  }

  function scale(to: number): void {
    zoom = Math.max(SMALLEST, Math.min(LARGEST, to));
    drawing.setAttribute("width", String(width * zoom));
    drawing.setAttribute("height", String(height * zoom));
  }

  function fit(): void {
    isFitted = true;
    if (!canvas.clientWidth) return;
    const drawingHeight = height * Math.min(1, (canvas.clientWidth - 2) / width);
    canvas.style.height = `${Math.max(LOWEST, Math.min(TALLEST, Math.ceil(drawingHeight) + 2))}px`;
    scale(Math.min(1, (canvas.clientWidth - 2) / width, (canvas.clientHeight - 2) / height));
    canvas.scrollLeft = (canvas.scrollWidth - canvas.clientWidth) / 2;
  }

  function zoomBy(factor: number): void {
    isFitted = false;
    scale(zoom * factor);
  }

  function focusable(id: string): void {
    boxes.forEach((node, nodeId) => node.setAttribute("tabindex", nodeId === id ? "0" : "-1"));
  }

  function select(id: string): void {
    const vertex = vertexes.get(id);
    if (!vertex) return;
    current = id;
    focusable(id);
    boxes.forEach((node, nodeId) => !visible.chains.has(nodeId) && node.setAttribute("aria-pressed", String(nodeId === id)));
    for (const { edge, path } of lines) path.classList.toggle("pbr-edge-on", edge.from === id || edge.to === id);
    fill(side, stepDetails(view, vertex, reveal));
  }

  /** Show the steps of a chain, or fold all chains again; the chosen node stays in sight. */
  function refold(next: string[][]): void {
    folded = next;
    const hidden = next.find((chain) => chain.includes(current));
    draw();
    select(hidden ? start : current);
    fit();
    if (zoom >= READABLE || next.length === chains.length) return;
    isFitted = false;
    scale(READABLE);
  }

  function unfold(chain: string[]): void {
    refold(folded.filter((other) => other !== chain));
    reveal(chain[0] ?? "");
  }

  function press(id: string): void {
    const chain = visible.chains.get(id);
    if (chain) unfold(chain);
    else select(id);
  }

  function reveal(id: string): void {
    const chain = folded.find((members) => members.includes(id));
    if (chain) refold(folded.filter((other) => other !== chain));
    select(id);
    const node = boxes.get(id);
    node?.focus({ preventScroll: true });
    node?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Return the nearest node in a direction, connected ones first. */
  function neighbour(id: string, key: string): string | undefined {
    const origin = plan.nodes.find((node) => node.id === id);
    if (!origin) return undefined;
    const neighbours = new Set(
      plan.edges.flatMap((edge) => (edge.from === id ? [edge.to] : edge.to === id ? [edge.from] : [])),
    );
    const side = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[key];
    if (!side) return undefined;
    const [dx = 0, dy = 0] = side;
    return plan.nodes
      .filter((node) => (dx ? node.y === origin.y && (node.x - origin.x) * dx > 0 : (node.y - origin.y) * dy > 0))
      .map((node) => ({
        id: node.id,
        far: Math.abs(node.x - origin.x) + 3 * Math.abs(node.y - origin.y) - (neighbours.has(node.id) ? 1e5 : 0),
      }))
      .sort((a, b) => a.far - b.far)[0]?.id;
  }

  canvas.addEventListener("keydown", (event) => {
    const id = [...boxes].find(([, node]) => node === event.target)?.[0];
    if (!id) return;
    const to = neighbour(id, event.key);
    if (to) {
      focusable(to);
      boxes.get(to)?.focus();
    } else if (event.key === "Enter" || event.key === " ") press(id);
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
  const folds = chains.length
    ? h("button", {
        type: "button",
        class: "pbr-button pbr-fold",
        "aria-label": "Show the steps of all chains",
        onclick: () => refold(folded.length ? [] : chains),
      })
    : null;
  const tools = h(
    "div",
    { class: "pbr-zoom" },
    folds,
    tool("minus", "Zoom out", () => zoomBy(1 / 1.25)),
    tool("plus", "Zoom in", () => zoomBy(1.25)),
    tool("fit", "Fit to view", fit),
  );
  const legend = h(
    "div",
    { class: "pbr-legend" },
    h("span", { class: "pbr-swatch pbr-swatch-done" }),
    "ran",
    h("span", { class: "pbr-swatch pbr-swatch-cached" }),
    "cached",
  );
  draw();
  scale(1);
  select(start);
  // Fit the drawing when it is first seen, and whenever its box changes, until the reader zooms.
  const observer = new ResizeObserver(() => isFitted && fit());
  observer.observe(canvas);
  return {
    node: h(
      "div",
      { class: "pbr-graph" },
      h("div", { class: "pbr-tools" }, legend, tools),
      h("div", { class: "pbr-split pbr-graph-split" }, canvas, side),
    ),
    reveal: (id) => current !== id && reveal(id),
    dispose: () => observer.disconnect(),
  };
}

/** Let a pointer drag the drawing. */
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
