// The parts of the drawing of a graph: steps, chains of steps, the stages behind them, and edges.

import { svg } from "../../dom";
import type { Vertex } from "../../model";
import { humanSeconds, nameParts, plural, stepName } from "../../words";
import type { Lane, Sizes } from "./layout";
import { stateOf, took } from "./step";
import type { State } from "./step";

export const SIZES: Sizes = { width: 196, height: 46, gapX: 20, gapY: 24, title: 26 };
export const PAD = 8;
const CORNER = 6;
const LETTERS = 26; // letters of the code font that fit into a node

export const isExport = (vertex: Vertex): boolean =>
  (vertex.kind || nameParts(vertex.name).kind) === "export";

/** Return the lane of a step: its stage, with the platform if the build has several. */
export function laneOf(vertex: Vertex): string {
  const { stage, platform } = nameParts(vertex.name);
  return [vertex.stage || stage, platform].filter(Boolean).join(" · ");
}

const cut = (text: string, letters: number): string =>
  text.length > letters ? `${text.slice(0, letters - 1)}…` : text;

/** Return the path through points, with round corners. */
export function line(points: [number, number][]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${first[0]} ${first[1]}`;
  rest.forEach(([x, y], index) => {
    const [[fromX, fromY], next] = [points[index] ?? first, rest[index + 1]];
    if (!next) return void (path += `L${x} ${y}`);
    const before = Math.min(CORNER, Math.hypot(x - fromX, y - fromY) / 2);
    const after = Math.min(CORNER, Math.hypot(next[0] - x, next[1] - y) / 2);
    path += `L${x - Math.sign(x - fromX) * before} ${y - Math.sign(y - fromY) * before}`;
    path += `Q${x} ${y} ${x + Math.sign(next[0] - x) * after} ${y + Math.sign(next[1] - y) * after}`;
  });
  return path;
}

/** Draw a node: a step, or the steps of a chain. */
export interface Face {
  state: State;
  head: string;
  time: string;
  text: string;
}

export function faceOf(vertex: Vertex): Face {
  const name = stepName(vertex.name);
  const head = name.place ? `step ${name.place}` : isExport(vertex) ? "export" : laneOf(vertex) ? "" : "source";
  return { state: stateOf(vertex), head, time: took(vertex), text: name.text };
}

export function faceOfChain(members: Vertex[]): Face {
  const states = new Set(members.map(stateOf));
  const [state = "done"] = states.size === 1 ? states : [];
  const seconds = members.reduce((sum, vertex) => sum + (vertex.seconds ?? 0), 0);
  const [first, last] = [members[0], members.at(-1)].map((vertex) => (vertex ? stepName(vertex.name).place : ""));
  const head = first && last ? `steps ${first.split("/")[0] ?? ""} to ${last}` : "steps";
  return { state, head, time: state === "cached" ? "CACHED" : humanSeconds(seconds), text: `${plural(members.length, "more step")}` };
}

export function box({ state, head, time, text }: Face, isChain: boolean): SVGGElement {
  const label = cut(text, LETTERS);
  return svg(
    "g",
    {
      class: `pbr-node pbr-is-${state}${isChain ? " pbr-chain" : ""}`,
      role: "button",
      tabindex: -1,
      "aria-description": label === text ? null : text,
      "aria-pressed": isChain ? null : "false",
      "aria-expanded": isChain ? "false" : null,
    },
    isChain ? svg("rect", { class: "pbr-node-behind", x: 4, y: 4, width: SIZES.width, height: SIZES.height, rx: 6 }) : null,
    svg("rect", { class: "pbr-node-box", width: SIZES.width, height: SIZES.height, rx: 6 }),
    svg("rect", { class: "pbr-node-mark", width: 4, height: SIZES.height - 12, x: 5, y: 6, rx: 2 }),
    svg("text", { class: "pbr-node-stage", x: 16, y: 17 }, head),
    " ", // a space in its accessible name
    svg("text", { class: "pbr-node-time", x: SIZES.width - 10, y: 17, "text-anchor": "end" }, time),
    " ",
    svg("text", { class: "pbr-node-name", x: 16, y: 35 }, label),
  );
}

/** Draw a stage behind its steps. */
export function laneBox({ name, x, y, width, height }: Lane): SVGGElement {
  const letters = Math.max(4, Math.floor((width - 16) / 7));
  return svg(
    "g",
    { class: "pbr-stage-lane" },
    svg("rect", { x, y, width, height, rx: 6 }),
    svg("text", { x: x + 10, y: y + 17 }, cut(name || "sources", letters)),
    name ? svg("title", null, name) : null,
  );
}
