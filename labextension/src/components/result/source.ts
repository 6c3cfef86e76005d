// The Dockerfile with the cost of each instruction: its layer, its size and its time.

import { h } from "../../dom";
import { runnable } from "../../model";
import type { Layer, Vertex } from "../../model";
import { humanBytes, humanSeconds, plural } from "../../words";
import { dockerfileLines } from "../shared/code";
import { icon } from "../shared/icons";
import { note } from "../shared/note";
import type { View } from "./view";

const LINES = 3000; // lines that are drawn

/** Return the steps of each line of the Dockerfile, and the layers that they made. */
function byLine(view: View): Map<number, { vertexes: Vertex[]; layers: { layer: Layer; number: number }[] }> {
  const lines = new Map<number, { vertexes: Vertex[]; layers: { layer: Layer; number: number }[] }>();
  const add = (line: number, vertex: Vertex): { layer: Layer; number: number }[] => {
    const costs = lines.get(line) ?? { vertexes: [], layers: [] };
    if (!costs.vertexes.includes(vertex)) costs.vertexes.push(vertex);
    lines.set(line, costs);
    return costs.layers;
  };
  const vertexes = view.summary.vertexes ?? [];
  for (const vertex of vertexes) if (vertex.line) add(vertex.line, vertex);
  (runnable(view.summary.image)[0]?.layers ?? []).forEach((layer, index) => {
    const vertex = vertexes.find(({ digest }) => digest === layer.vertex);
    const line = layer.line ?? vertex?.line;
    if (vertex && line) add(line, vertex).push({ layer, number: index + 1 });
  });
  return lines;
}

export function source(view: View, open: (digest: string) => void): HTMLElement {
  const costsByLine = byLine(view);
  const text = (view.summary.dockerfile ?? "").replace(/\n$/, "");
  const lines = text.split("\n");
  const warnings = view.summary.warnings ?? [];
  const rows = dockerfileLines(lines.slice(0, LINES)).map((line, index) => {
    const costs = costsByLine.get(index + 1);
    const lineWarnings = warnings.filter((warning) => warning.line === index + 1);
    const time = costs?.vertexes.reduce((sum, vertex) => sum + (vertex.seconds ?? 0), 0) ?? 0;
    const cached = costs?.vertexes.length && costs.vertexes.every((vertex) => vertex.cached);
    return h(
      "li",
      { class: lineWarnings.length ? "pbr-warned" : costs?.layers.length ? "pbr-made" : null },
      h("span", { class: "pbr-line-number", "aria-hidden": "true" }, index + 1),
      line,
      h(
        "span",
        { class: "pbr-cost" },
        costs?.layers.map(({ layer, number }) =>
          h(
            "button",
            {
              type: "button",
              class: "pbr-chip",
              onclick: () => open(layer.digest),
            },
            `Layer ${number} · ${humanBytes(layer.size)}`,
          ),
        ),
        cached
          ? h("span", { class: "pbr-cached" }, "CACHED")
          : costs
            ? h("span", { class: "pbr-dim" }, humanSeconds(time))
            : null,
      ),
      lineWarnings.map((warning) => h("span", { class: "pbr-line-warning" }, icon("warning"), warning.short)),
    );
  });
  return h(
    "section",
    null,
    h("h3", null, "Dockerfile, line by line"),
    h("ol", { class: "pbr-source" }, rows),
    lines.length > LINES ? note(`The first ${LINES} of ${plural(lines.length, "line")}.`) : null,
  );
}
