// A finished build: a headline, and below it the tabs for which there is something to show.

import { fill, h } from "../../dom";
import { runnable } from "../../model";
import type { Kernel, Summary, TabName } from "../../model";
import { leftOut } from "../../words";
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
import { isWorthARow, stepsTab } from "./steps";
import { timelineTab } from "./timeline";
import { Trees } from "./trees";
import type { View } from "./view";

const hasSteps = (summary: Summary): boolean => summary.vertexes?.some(isWorthARow) ?? false;

/** Return the tabs of a result; each is offered only where there is something to show. */
function specs(view: View): TabSpec[] {
  const { summary, trees } = view;
  const manifests = runnable(summary.image);
  const written = (summary.outputs ?? []).filter(
    (output, index) => output.files?.length || trees.keptTree({ of: `output:${index}`, platform: "" }),
  );
  const files = written[0]?.file_count ?? 0;
  const steps = countedSteps(summary).length;
  const list: (TabSpec & { id: TabName })[] = [
    { id: "image", title: "Image", when: () => summary.image?.digest, make: () => imageTab(view) },
    {
      id: "layers",
      title: "Layers",
      note: manifests[0]?.layers.length,
      when: () => manifests.some((manifest) => manifest.layers.length),
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
      when: () => manifests.some((manifest) => Object.keys(manifest.config).length),
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
      when: () => summary.builder && hasSteps(summary),
      make: () => stepsTab(view),
    },
    { id: "logs", title: "Logs", when: () => hasLogs(summary.vertexes), make: () => logsTab(view) },
    { id: "graph", title: "Graph", when: () => graphOf(summary).nodes.length, make: () => graphTab(view) },
    {
      id: "timeline",
      title: "Timeline",
      when: () => summary.vertexes?.some((vertex) => vertex.started && isWorthARow(vertex)),
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
  // A failed build opens on its steps, and one without an image on its files.
  const first = summary.error ? "steps" : summary.image ? "" : "files";
  return [...list.filter((spec) => spec.id === first), ...list.filter((spec) => spec.id !== first)];
}

/** The choices of the reader, which survive a second drawing of the result. */
export interface Chosen {
  tab: string;
  /** Whether a result that came wholly from the cache, or failed at once, shows more than its headline. */
  isOpen?: boolean;
}

/** Return `words` as a button that opens the tabs. */
function folded(words: string, choice: Chosen, open: () => HTMLElement): HTMLElement {
  const place = h("div", { class: "pbr-more" });
  const button = h(
    "button",
    { type: "button", class: "pbr-link", "aria-expanded": "false", onclick: () => unfold() },
    words,
  );
  const unfold = (): void => {
    choice.isOpen = true;
    const node = open();
    place.replaceWith(node);
    node.querySelector<HTMLElement>('[role="tab"][aria-selected="true"]')?.focus();
  };
  place.append(button);
  return place;
}

/** A result on the page. */
export interface Drawn {
  /** Use another kernel from now on, or none; whatever the reader has opened, typed and chosen stays. */
  turnTo: (kernel: Kernel | null) => void;
  /** Ask the kernel again for what a cell that has run may have removed. */
  ask: () => void;
  dispose: () => void;
}

/** Draw a result into `root`; `kernel`, if there is one, is asked for more. */
export function renderResult(
  root: HTMLElement,
  summary: Summary,
  kernel: Kernel | null,
  choice: Chosen = { tab: "", isOpen: true },
): Drawn {
  const listeners: (() => void)[] = [];
  const askers: (() => void)[] = [];
  const whenKernel = (listener: () => void): void => void listeners.push(listener);
  const whenRun = (listener: () => void): void => void askers.push(listener);
  const view: View = { summary, kernel, trees: new Trees(summary, kernel), show, whenKernel, whenRun };
  // A failed build opens on its steps, whatever --view says.
  const wished = summary.error ? "" : (summary.view ?? "");
  const tabbed = tabs(specs(view), "Result", choice.tab || wished, (tab) => (choice.tab = tab));
  let body = tabbed.node;
  if (!wished && !choice.isOpen) {
    // A Dockerfile with a fault that no step came to has nothing to show but its error.
    const words = isCached(summary) ? "Show the image, its layers and the steps" : summary.error && !hasSteps(summary) ? "Show the request" : "";
    if (words) body = folded(words, choice, () => tabbed.node);
  }
  function show(tab: TabName, target?: string): boolean {
    if (body !== tabbed.node && body.isConnected) body.querySelector("button")?.click();
    return tabbed.show(tab, target);
  }
  // Without this, Jupyter's shortcuts would take the arrow keys and letters that move within a result.
  const rest = leftOut(summary.omitted);
  const node = h(
    "section",
    { class: "pbr", "aria-label": "Result of the build", "data-lm-suppress-shortcuts": "true" },
    headline(view),
    body,
    rest ? h("p", { class: "pbr-omitted" }, rest) : null,
  );
  fill(root, node);
  return {
    turnTo(next) {
      if (next === view.kernel) return;
      view.kernel = next;
      view.trees.turnTo(next);
      for (const listener of listeners) listener();
      tabbed.refresh();
    },
    ask() {
      if (view.kernel) for (const asker of askers) asker();
    },
    dispose() {
      tabbed.dispose();
      node.remove();
    },
  };
}
