// The Dockerfile beside what each of its instructions cost: which layer a line made, how big it is, how long it took.

import { h } from "../../dom";
import { runnable } from "../../model";
import type { Layer, Vertex } from "../../model";
import { humanBytes, humanSeconds, plural } from "../../words";
import { dockerfile } from "../shared/code";
import { icon } from "../shared/icons";
import { note } from "../shared/note";
import type { View } from "./view";

const LINES = 3000; // that are drawn

/** By line of the Dockerfile: the steps that it became, and the layers that they made. */
function byLine(view: View): Map<number, { vertexes: Vertex[]; layers: { layer: Layer; number: number }[] }> {
  const lines = new Map<number, { vertexes: Vertex[]; layers: { layer: Layer; number: number }[] }>();
  const add = (line: number, vertex: Vertex): { layer: Layer; number: number }[] => {
    const at = lines.get(line) ?? { vertexes: [], layers: [] };
    if (!at.vertexes.includes(vertex)) at.vertexes.push(vertex);
    lines.set(line, at);
    return at.layers;
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
  const made = byLine(view);
  const text = (view.summary.dockerfile ?? "").replace(/\n$/, "");
  const lines = text.split("\n");
  const warnings = view.summary.warnings ?? [];
  const rows = lines.slice(0, LINES).map((line, index) => {
    const at = made.get(index + 1);
    const warned = warnings.filter((warning) => warning.line === index + 1);
    const time = at?.vertexes.reduce((sum, vertex) => sum + (vertex.seconds ?? 0), 0) ?? 0;
    const cached = at?.vertexes.length && at.vertexes.every((vertex) => vertex.cached);
    return h(
      "li",
      { class: warned.length ? "pbr-warned" : at?.layers.length ? "pbr-made" : null },
      h("span", { class: "pbr-line-number", "aria-hidden": "true" }, index + 1),
      dockerfile(line),
      h(
        "span",
        { class: "pbr-cost" },
        at?.layers.map(({ layer, number }) =>
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
          : at
            ? h("span", { class: "pbr-dim" }, humanSeconds(time))
            : null,
      ),
      warned.map((warning) => h("span", { class: "pbr-line-warning" }, icon("warning"), warning.short)),
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
