// A finished build to look at and explore: a headline, and below it a tab for everything that there is something of.

import { fill, h } from "../../dom";
import { runnable } from "../../model";
import type { Kernel, Summary } from "../../model";
import { tabs } from "../shared/tabs";
import type { TabSpec } from "../shared/tabs";
import { configTab } from "./config";
import { downloadsTab } from "./downloads";
import { filesTab } from "./files";
import { graphOf, graphTab } from "./graph";
import { headline } from "./headline";
import { imageTab } from "./image";
import { layersTab } from "./layers";
import { requestTab } from "./request";
import { timelineTab } from "./timeline";
import { Trees } from "./trees";
import type { TabName, View } from "./view";

/** The tabs of a result, each only where there is something to show. */
function specs(view: View): TabSpec[] {
  const { summary, trees } = view;
  const manifests = runnable(summary.image);
  const written = (summary.outputs ?? []).filter(
    (output, index) => output.files?.length || trees.kept({ of: `output:${index}`, platform: "" }),
  );
  const files = written[0]?.file_count ?? 0;
  const steps = graphOf(summary).nodes.length;
  const list: (TabSpec & { id: TabName; when: unknown })[] = [
    { id: "image", title: "Image", when: summary.image, make: () => imageTab(view) },
    {
      id: "layers",
      title: "Layers",
      note: manifests[0]?.layers.length,
      when: manifests.some((one) => one.layers.length),
      make: () => layersTab(view),
    },
    {
      id: "files",
      title: "Files",
      note: files ? files.toLocaleString("en-US") : null,
      when: written.length || manifests.some(({ platform }) => trees.has({ of: "image", platform })),
      make: () => filesTab(view),
    },
    {
      id: "config",
      title: "Config",
      when: manifests.some((one) => Object.keys(one.config).length),
      make: () => configTab(view),
    },
    { id: "graph", title: "Graph", note: steps || null, when: steps, make: () => graphTab(view) },
    {
      id: "timeline",
      title: "Timeline",
      when: summary.vertexes?.some((vertex) => vertex.started),
      make: () => timelineTab(view),
    },
    { id: "request", title: "Request", when: summary.request || summary.command, make: () => requestTab(view) },
    {
      id: "downloads",
      title: "Downloads",
      when: summary.outputs?.some((output) => output.dest),
      make: () => downloadsTab(view),
    },
  ];
  const found = list.filter((spec) => spec.when);
  // A build for its files, with no image, is looked at for them.
  return summary.image
    ? found
    : [...found.filter((spec) => spec.id === "files"), ...found.filter((spec) => spec.id !== "files")];
}

/** What the notebook does not keep, so that it stays small. */
function omitted(summary: Summary): HTMLElement | null {
  const left = Object.entries(summary.omitted ?? {}).map(([what, count]) => `${count.toLocaleString("en-US")} ${what}`);
  return left.length
    ? h("p", { class: "pbr-omitted" }, `Not kept in the notebook, so that it stays small: ${left.join(", ")}.`)
    : null;
}

/** Which tab the reader has chosen; kept by who draws a result again. */
export interface Chosen {
  tab: string;
}

/** Draws `summary` into `root`, asks `kernel` for more where one runs; the answer takes it away again. */
export function renderResult(
  root: HTMLElement,
  summary: Summary,
  kernel: Kernel | null,
  chosen: Chosen = { tab: "" },
): () => void {
  const view: View = { summary, kernel, trees: new Trees(summary, kernel), show: (tab, target) => shown.show(tab, target) };
  const start = chosen.tab || (summary.error ? "timeline" : "");
  const shown = tabs(specs(view), "Result", start, (tab) => (chosen.tab = tab));
  // Jupyter's shortcuts would else take the arrow keys and letters that move in here.
  const node = h(
    "section",
    { class: "pbr", "aria-label": "Result of the build", "data-lm-suppress-shortcuts": "true" },
    headline(view),
    shown.node,
    omitted(summary),
  );
  fill(root, node);
  return () => {
    shown.dispose();
    node.remove();
  };
}
