// The Layers tab: the changes and the size of each layer, and the wasted bytes, as dive shows them.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import { runnable } from "../../model";
import type { Columns, Manifest } from "../../model";
import { humanBytes, plural } from "../../words";
import { dockerfile } from "../shared/code";
import { digestView } from "../shared/digest";
import { fillWith, needsKernel, notKept, note } from "../shared/note";
import { choice, segments } from "../shared/segments";
import { table } from "../shared/table";
import type { Panel } from "../shared/tabs";
import { betweenImages, betweenLayers, storedImages } from "./compare";
import { explorer } from "./explorer";
import { changesNothing, countsOf, instructionOf, layerList } from "./layerlist";
import type { Counts } from "./layerlist";
import type { TreeName } from "./trees";
import type { View } from "./view";

const IMAGE = "image ";

/** Return the efficiency of the image, and the paths that waste most bytes. */
function efficiency(manifest: Manifest, find: (path: string) => void): HTMLElement | null {
  const value = manifest.efficiency ?? -1;
  if (value < 0) return null;
  const percent = `${(100 * value).toFixed(value > 0.9995 || value < 0.1 ? 0 : 1)} %`;
  const wasted = manifest.wasted ?? [];
  const gauge = h(
    "div",
    {
      class: "pbr-gauge",
      role: "meter",
      "aria-label": "Efficiency",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": Math.round(100 * value),
      "aria-valuetext": percent,
    },
    h("div"),
  );
  (gauge.firstElementChild as HTMLElement).style.width = `${100 * value}%`;
  const head = [
    h("span", { class: "pbr-stat" }, h("b", null, percent), " efficient"),
    gauge,
    h("span", { class: "pbr-stat" }, h("b", null, humanBytes(Math.max(0, manifest.wasted_bytes ?? 0))), " wasted"),
  ];
  if (!wasted.length) return h("div", { class: "pbr-efficiency" }, head);
  const rows = wasted.map(([path, count, bytes]) => [
    h("button", { type: "button", class: "pbr-link pbr-code", onclick: () => find(path) }, `/${path}`),
    String(count),
    humanBytes(bytes),
  ]);
  return h(
    "details",
    { class: "pbr-efficiency" },
    h("summary", null, head),
    note(
      "Files that are in several layers, or that a later layer removes. An image keeps all of its layers, so these bytes are still downloaded.",
    ),
    table(
      "Paths that waste space",
      [
        { title: "Path", kind: "wide" },
        { title: "Layers", kind: "num" },
        { title: "Total size", kind: "num" },
      ],
      rows,
    ),
  );
}

function layersOf(view: View, manifest: Manifest): { node: HTMLElement; select: (diffId: string) => void } {
  const { layers, platform } = manifest;
  const files = explorer("Files of the layer", view, true);
  const statusLine = h("div", { "aria-live": "polite" });
  const title = h("div", { class: "pbr-layer-title" });
  let selected = 0;
  let mode = 0;
  let isWhole = true; // the tree on the page is complete
  let isMeasured = false;

  const list = layerList(view.summary, manifest, (index) => select(index));

  const other = h(
    "select",
    { class: "pbr-input", "aria-label": "Compare with", onchange: () => show() },
    layers.map((_, index) => h("option", { value: index }, `Layer ${index + 1}`)),
  );
  const stored = h("optgroup", { label: "Images in the store" });
  const compareWith = h("label", { class: "pbr-compare", hidden: true }, "with", other);
  const modes = choice("What is shown", ["This layer", "Image up to here", "Compare"], (index) => {
    mode = index;
    compareWith.hidden = mode !== 2;
    if (mode === 2) void offerImages();
    if (mode === 2 && Number(other.value) === selected) other.value = String(selected ? 0 : layers.length - 1);
    show();
  });

  /** Offer the images of the store for a comparison; they are asked for once. */
  async function offerImages(): Promise<void> {
    const { kernel } = view;
    if (!kernel || stored.parentNode) return;
    other.append(stored);
    const names = await storedImages(kernel).catch(() => []);
    fill(
      stored,
      names.map((name) => h("option", { value: IMAGE + name }, name)),
    );
  }

  function columns(of: string): Promise<Columns> {
    return view.trees.get({ of, platform });
  }

  async function load(): Promise<() => Child> {
    const layer = layers[selected];
    if (!layer) return () => null;
    const showing = (content: Columns, name: TreeName, remark: Child) => (): Child => {
      files.set(content, name);
      return remark;
    };
    isWhole = true;
    if (mode === 2 && other.value.startsWith(IMAGE) && view.kernel) {
      const name = other.value.slice(IMAGE.length);
      const [difference, remark] = await betweenImages(view.kernel, name, view.kernel.token);
      return showing(difference, { of: "image", platform }, remark);
    }
    if (mode === 2) {
      const [from, to] = [selected, Number(other.value)].sort((a, b) => a - b) as [number, number];
      const between = await Promise.all(layers.slice(from + 1, to + 1).map((layer) => columns(`layer:${layer.diff_id}`)));
      const difference = betweenLayers(await columns(`image@${from}`), between);
      const remark = note(`From layer ${from + 1} to layer ${to + 1}: ${plural(difference.type.length, "entry")} differ.`);
      return showing(difference, { of: `image@${to}`, platform }, remark);
    }
    const of = mode === 1 ? `image@${selected}` : `layer:${layer.diff_id}`;
    const name = { of, platform };
    if (mode === 0 && changesNothing(countsOf(layer))) {
      return () => {
        files.node.hidden = true;
        return note("This layer changes nothing.");
      };
    }
    if (!view.trees.has(name)) {
      isWhole = false;
      return () => {
        files.node.hidden = true;
        return needsKernel("The list of these files");
      };
    }
    const content = await view.trees.get(name);
    const omitted = view.trees.omittedCount(name);
    isWhole = !omitted;
    return showing(content, name, omitted ? notKept(omitted) : null);
  }

  function show(): void {
    files.node.hidden = false;
    void fillWith(statusLine, load()).then((isDone) => {
      if (!isDone) files.node.hidden = true; // the tree of another layer would mislead
    });
  }

  function select(index: number): void {
    selected = index;
    list.mark(index);
    const layer = layers[index];
    if (!layer) return;
    const { size } = countsOf(layer);
    fill(
      title,
      h("b", null, `Layer ${index + 1}`),
      digestView(layer.digest, `layer ${index + 1}`, () => view.show("image", layer.digest)),
      h(
        "span",
        { class: "pbr-dim" },
        humanBytes(layer.size),
        size >= 0 && size !== layer.size ? ` compressed, ${humanBytes(size)} unpacked` : "",
      ),
      h("div", { class: "pbr-layer-instruction" }, dockerfile(instructionOf(view.summary, manifest, index))),
    );
    show();
  }

  /** Select a path in the tree of the whole image. */
  function find(path: string): void {
    files.search(path);
    selected = layers.length - 1;
    modes.press(1);
    select(selected);
  }

  const measured = h("div", { class: "pbr-measured", role: "status" });

  /** Ask the kernel for the changes and the waste of a large image, which are computed only on demand. */
  async function count(): Promise<void> {
    const { kernel } = view;
    isMeasured = true;
    const isKnown = (manifest.efficiency ?? -1) >= 0 && layers.every((layer) => (layer.files_added ?? -1) >= 0);
    if (isKnown || !layers.length) return fill(measured, efficiency(manifest, find));
    isMeasured = kernel !== null;
    if (!kernel) return fill(measured, needsKernel("The efficiency of the image"));
    fill(measured, note("Comparing the layers…"));
    const { result } = await kernel.ask("layers", { platform });
    const figures = result as Pick<Manifest, "efficiency" | "wasted_bytes" | "wasted"> & {
      layers: (Counts & { diff_id: string })[];
    };
    fill(measured, efficiency({ ...manifest, ...figures, layers }, find));
    const layerCounts = figures.layers;
    layers.forEach((layer, index) => {
      const match = layerCounts.find((counts) => counts.diff_id === layer.diff_id);
      if (match) list.tell(index, match);
    });
  }

  const measure = (): void => void count().catch((error: Error) => fill(measured, note(error.message)));

  if (layers.length) modes.press(0);
  // The last one that does something: WORKDIR and the like often end a Dockerfile.
  const last = layers.map((layer) => !changesNothing(countsOf(layer))).lastIndexOf(true);
  if (layers.length) select(last < 0 ? layers.length - 1 : last);
  measure();
  view.whenKernel(() => {
    if (!view.kernel) return;
    if (!isMeasured) measure();
    if (!isWhole) show();
    if (mode === 2) void offerImages();
  });
  const right = [title, h("div", { class: "pbr-tools" }, modes.node, compareWith), statusLine, files.node];
  const node = h(
    "div",
    null,
    measured,
    h("div", { class: "pbr-split" }, list.node, h("div", { class: "pbr-layer-view" }, right)),
  );
  return {
    node,
    select: (target) => {
      const index = layers.findIndex((layer) => layer.diff_id === target || layer.digest === target);
      if (index >= 0) select(index);
    },
  };
}

export function layersTab(view: View): Panel {
  const parts: { select: (target: string) => void }[] = [];
  const list = runnable(view.summary.image).map((manifest) => ({
    title: manifest.platform,
    make() {
      const part = layersOf(view, manifest);
      parts.push(part);
      return part.node;
    },
  }));
  return { node: segments("Platform", list), reveal: (target) => parts.forEach((part) => part.select(target)) };
}
