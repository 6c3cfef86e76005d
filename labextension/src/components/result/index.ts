// A finished build to look at and explore: a headline, and below it a tab for everything that there is something of.

import { fill, h } from "../../dom";
import { runnable } from "../../model";
import type { Kernel, Summary, TabName } from "../../model";
import { tabs } from "../shared/tabs";
import type { TabSpec } from "../shared/tabs";
import { attestationsTab } from "./attestations";
import { configTab } from "./config";
import { downloadsTab } from "./downloads";
import { filesTab } from "./files";
import { graphOf, graphTab } from "./graph";
import { countedSteps, headline, isCached } from "./headline";
import { imageTab } from "./image";
import { layersTab } from "./layers";
import { hasLogs, logsTab } from "./logs";
import { requestTab } from "./request";
import { stepsTab } from "./steps";
import { timelineTab } from "./timeline";
import { Trees } from "./trees";
import type { View } from "./view";

/** The tabs of a result, each of which is offered only where there is something to show. */
function specs(view: View): TabSpec[] {
  const { summary, trees } = view;
  const manifests = runnable(summary.image);
  const written = (summary.outputs ?? []).filter(
    (output, index) => output.files?.length || trees.kept({ of: `output:${index}`, platform: "" }),
  );
  const files = written[0]?.file_count ?? 0;
  const steps = countedSteps(summary).length;
  const list: (TabSpec & { id: TabName })[] = [
    { id: "image", title: "Image", when: () => summary.image?.digest, make: () => imageTab(view) },
    {
      id: "layers",
      title: "Layers",
      note: manifests[0]?.layers.length,
      when: () => manifests.some((one) => one.layers.length),
      make: () => layersTab(view),
    },
    {
      id: "files",
      title: "Files",
      note: files ? files.toLocaleString("en-US") : null,
      when: () => written.length || manifests.some(({ platform }) => trees.has({ of: "image", platform })),
      make: () => filesTab(view),
    },
    {
      id: "config",
      title: "Config",
      when: () => manifests.some((one) => Object.keys(one.config).length),
      make: () => configTab(view),
    },
    {
      id: "attestations",
      title: "Attestations",
      when: () => summary.attested?.length,
      make: () => attestationsTab(view),
    },
    {
      id: "steps",
      title: "Steps",
      note: steps || null,
      when: () => summary.builder && summary.vertexes?.length,
      make: () => stepsTab(view),
    },
    { id: "logs", title: "Logs", when: () => hasLogs(summary.vertexes), make: () => logsTab(view) },
    { id: "graph", title: "Graph", when: () => graphOf(summary).nodes.length, make: () => graphTab(view) },
    {
      id: "timeline",
      title: "Timeline",
      when: () => summary.vertexes?.some((vertex) => vertex.started),
      make: () => timelineTab(view),
    },
    { id: "request", title: "Request", when: () => summary.request || summary.command, make: () => requestTab(view) },
    {
      id: "downloads",
      title: "Downloads",
      when: () => summary.outputs?.some((output) => output.dest),
      make: () => downloadsTab(view),
    },
  ];
  // A build that failed is looked at for its steps, and one for files, with no image, for them.
  const first = summary.error ? "steps" : summary.image ? "" : "files";
  return [...list.filter((spec) => spec.id === first), ...list.filter((spec) => spec.id !== first)];
}

/** What is not kept of an image or a build and has no place of its own where that would be told. */
const UNPLACED: Record<string, string> = {
  outputs: "outputs",
  manifests: "manifests",
  layers: "layers",
  warnings: "warnings",
  characters: "characters of long lines and texts",
  values: "values",
};

function omitted(summary: Summary): HTMLElement | null {
  const { omitted: all = {} } = summary;
  const left = Object.entries(UNPLACED).flatMap(([what, words]) =>
    all[what] ? [`${all[what].toLocaleString("en-US")} ${words}`] : [],
  );
  return left.length ? h("p", { class: "pbr-omitted" }, `Not kept in the notebook: ${left.join(", ")}.`) : null;
}

/** What the reader has chosen; kept by who draws a result again. */
export interface Chosen {
  tab: string;
  /** Whether a result that is nothing new, since all of it was cached, shows more than its headline. */
  isOpen?: boolean;
}

/** The tabs behind a line, until somebody wants to see them. */
function folded(chosen: Chosen, open: () => HTMLElement): HTMLElement {
  const place = h("div", { class: "pbr-more" });
  const button = h(
    "button",
    { type: "button", class: "pbr-link", "aria-expanded": "false", onclick: () => unfold() },
    "Show the image, its layers and the steps",
  );
  const unfold = (): void => {
    chosen.isOpen = true;
    const node = open();
    place.replaceWith(node);
    node.querySelector<HTMLElement>('[role="tab"][aria-selected="true"]')?.focus();
  };
  place.append(button);
  return place;
}

/** A result that is drawn. */
export interface Drawn {
  /** Asks another kernel for more from now on, or none; what a reader has opened, typed and chosen stays. */
  turnTo: (kernel: Kernel | null) => void;
  dispose: () => void;
}

/** Draws `summary` into `root`, and asks `kernel` for more where one runs. */
export function renderResult(
  root: HTMLElement,
  summary: Summary,
  kernel: Kernel | null,
  chosen: Chosen = { tab: "", isOpen: true },
): Drawn {
  const listeners: (() => void)[] = [];
  const whenKernel = (listener: () => void): void => void listeners.push(listener);
  const view: View = { summary, kernel, trees: new Trees(summary, kernel), show, whenKernel };
  // A build that failed is looked at for its steps, whatever its cell had asked for.
  const wished = summary.error ? "" : (summary.view ?? "");
  const shown = tabs(specs(view), "Result", chosen.tab || wished, (tab) => (chosen.tab = tab));
  const isFolded = isCached(summary) && !wished && !chosen.isOpen;
  let body = shown.node;
  if (isFolded) body = folded(chosen, () => shown.node);
  function show(tab: TabName, target?: string): boolean {
    if (body !== shown.node && body.isConnected) body.querySelector("button")?.click();
    return shown.show(tab, target);
  }
  // Jupyter's shortcuts would else take the arrow keys and letters that move in here.
  const node = h(
    "section",
    { class: "pbr", "aria-label": "Result of the build", "data-lm-suppress-shortcuts": "true" },
    headline(view),
    body,
    omitted(summary),
  );
  fill(root, node);
  return {
    turnTo(next) {
      if (next === view.kernel) return;
      view.kernel = next;
      view.trees.turnTo(next);
      for (const listener of listeners) listener();
      shown.refresh();
    },
    dispose() {
      shown.dispose();
      node.remove();
    },
  };
}
