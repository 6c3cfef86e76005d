// The list of layers, those of the base apart, in the chosen order: one stop for the tab key, arrows within.

import { fill, freshId, h } from "../../dom";
import type { Child } from "../../dom";
import type { Layer, Manifest, Summary } from "../../model";
import { humanBytes, humanSeconds, plural, stepName } from "../../words";
import { dockerfile } from "../shared/code";

/** The changes of a layer to the files below it; -1 when unknown. */
export interface Counts {
  added: number;
  changed: number;
  removed: number;
  size: number;
}

export const countsOf = (layer: Layer): Counts => ({
  added: layer.files_added ?? -1,
  changed: layer.files_changed ?? -1,
  removed: layer.files_removed ?? -1,
  size: layer.uncompressed_size ?? -1,
});

const EMPTY = 1024; // bytes of a tar without entries

export const changesNothing = ({ added, changed, removed, size }: Counts): boolean =>
  !added && !changed && !removed && size >= 0 && size <= EMPTY;

export function changes(counts: Counts): Child {
  const { added, changed, removed } = counts;
  if (added < 0) return null;
  if (!added && !changed && !removed) {
    return h("span", { class: "pbr-dim" }, changesNothing(counts) ? "changes nothing" : "no files, only directories");
  }
  const part = (letter: string, sign: string, count: number, word: string): Child =>
    count > 0 &&
    h(
      "span",
      { class: `pbr-delta pbr-change-${letter}`, title: `${count} ${word}` },
      `${sign}${count.toLocaleString("en-US")}`,
      h("span", { class: "pbr-hidden" }, ` ${word}`),
    );
  return h(
    "span",
    { class: "pbr-deltas" },
    part("A", "+", added, "added"),
    part("M", "~", changed, "changed"),
    part("D", "−", removed, "removed"),
  );
}

/** Return the instruction of a layer: from the history, its step or its base. */
export function instructionOf(summary: Summary, manifest: Manifest, index: number): string {
  const layer = manifest.layers[index];
  const vertex = layer?.vertex ? summary.vertexes?.find(({ digest }) => digest === layer.vertex) : undefined;
  if (layer?.created_by) return layer.created_by;
  if (vertex) return stepName(vertex.name).text;
  return manifest.base && index < (manifest.base_layers ?? 0) ? `FROM ${manifest.base}` : `Layer ${index + 1}`;
}

interface Item {
  index: number;
  layer: Layer;
  instruction: string;
  seconds: number;
  option: HTMLElement;
  deltas: HTMLElement;
}

type Order = "number" | "what" | "seconds" | "size";
const COLUMNS: [Order, string, string][] = [
  ["number", "#", "Sort by position, bottom first"],
  ["what", "Instruction", "Sort by instruction"],
  ["seconds", "Time", "Sort by time, longest first"],
  ["size", "Size", "Sort by size, largest first"],
];

const BEFORE: Record<Order, (a: Item, b: Item) => number> = {
  number: (a, b) => a.index - b.index,
  what: (a, b) => (a.instruction < b.instruction ? -1 : a.instruction > b.instruction ? 1 : a.index - b.index),
  seconds: (a, b) => b.seconds - a.seconds || a.index - b.index,
  size: (a, b) => b.layer.size - a.layer.size || a.index - b.index,
};

export interface LayerList {
  node: HTMLElement;
  /** Mark a layer as chosen. */
  mark: (index: number) => void;
  /** Show the changes of a layer, once they are known. */
  tell: (index: number, counts: Counts) => void;
}

export function layerList(summary: Summary, manifest: Manifest, choose: (index: number) => void): LayerList {
  const { layers } = manifest;
  const heaviest = Math.log1p(Math.max(1, ...layers.map((layer) => layer.size)));
  const times = new Map((summary.vertexes ?? []).map((vertex) => [vertex.digest, vertex.seconds ?? 0]));
  let selected = -1;
  let listed: Item[] = [];

  const items = layers.map((layer, index): Item => {
    const weight = h("span", { class: "pbr-weight", "aria-hidden": "true" }, h("span"));
    // Sizes differ by powers of ten, and a bar of a thousandth of the width would be invisible.
    (weight.firstElementChild as HTMLElement).style.width = `${(100 * Math.log1p(layer.size)) / heaviest}%`;
    const deltas = h("span", { class: "pbr-layer-changes" }, changes(countsOf(layer)));
    const seconds = times.get(layer.vertex ?? "") ?? 0;
    const instruction = instructionOf(summary, manifest, index);
    const option = h(
      "div",
      { role: "option", id: freshId("layer"), class: "pbr-layer", "aria-selected": "false", onclick: () => pick(index) },
      h("span", { class: "pbr-layer-number" }, index + 1),
      h("span", { class: "pbr-layer-what", title: instruction }, dockerfile(instruction)),
      h("span", { class: "pbr-layer-time" }, seconds ? humanSeconds(seconds) : ""),
      h("span", { class: "pbr-layer-size" }, humanBytes(layer.size)),
      weight,
      deltas,
    );
    return { index, layer, instruction, seconds, option, deltas };
  });

  const list = h("div", { class: "pbr-layer-list", role: "listbox", tabindex: 0, "aria-label": "Layers, bottom first" });
  const heads = COLUMNS.map(([order, title, words]) =>
    h(
      "button",
      { type: "button", class: `pbr-layer-head pbr-head-${order}`, title: words, "aria-label": words, "aria-pressed": "false", onclick: () => arrange(order) },
      title,
    ),
  );

  function arrange(order: Order): void {
    heads.forEach((head, index) => head.setAttribute("aria-pressed", String(COLUMNS[index]?.[0] === order)));
    listed = [...items].sort(BEFORE[order]);
    const baseCount = order === "number" ? (manifest.base_layers ?? 0) : 0;
    const [base, own] = [listed.slice(0, baseCount), listed.slice(baseCount)].map((part) => part.map(({ option }) => option));
    if (!baseCount) return fill(list, own);
    const size = humanBytes(layers.slice(0, baseCount).reduce((sum, layer) => sum + layer.size, 0));
    const from = `From ${manifest.base ?? ""}, ${plural(baseCount, "layer")}`;
    const group = (words: string, facts: string, options: HTMLElement[] | undefined): Child =>
      options?.length
        ? h("div", { role: "group", "aria-label": words }, h("div", { class: "pbr-layer-group", "aria-hidden": "true" }, h("span", null, words), h("span", null, facts)), options)
        : null;
    fill(list, group(from, size, base), group("This build", "", own));
  }

  function mark(index: number): void {
    items[selected]?.option.setAttribute("aria-selected", "false");
    selected = index;
    const option = items[index]?.option;
    if (!option) return;
    option.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", option.id);
    reveal(option);
  }

  /** Scroll the list, and not the page as scrollIntoView would, until a layer is in sight. */
  function reveal({ offsetTop: top, offsetHeight: height }: HTMLElement): void {
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + height > list.scrollTop + list.clientHeight) list.scrollTop = top + height - list.clientHeight;
  }

  function pick(index: number): void {
    mark(index);
    choose(index);
  }

  list.addEventListener("keydown", (event) => {
    const position = listed.findIndex(({ index }) => index === selected);
    const to = { ArrowDown: position + 1, ArrowUp: position - 1, Home: 0, End: listed.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const item = listed[Math.max(0, Math.min(to, listed.length - 1))];
    if (item && item.index !== selected) pick(item.index);
  });

  arrange("number");
  // The layer that is chosen from the start is revealed once the list is laid out.
  const laidOut = new ResizeObserver(() => {
    const option = items[selected]?.option;
    if (!list.clientHeight || !option) return;
    laidOut.disconnect();
    reveal(option);
  });
  laidOut.observe(list);
  return {
    node: h("div", { class: "pbr-layer-pane" }, h("div", { class: "pbr-layer-heads", role: "group", "aria-label": "Order of the layers" }, heads), list),
    mark,
    tell: (index, counts) => {
      const item = items[index];
      if (item) fill(item.deltas, changes(counts));
    },
  };
}
