// Tabs in the pattern of ARIA: one stop for the tab key, arrows between them. A panel is made when it is first shown.

import { fill, freshId, h } from "../../dom";
import type { Child } from "../../dom";

export interface Panel {
  node: HTMLElement;
  /** Show one part of it, such as a layer by its digest. */
  reveal?: (target: string) => void;
  dispose?: () => void;
}

export interface TabSpec {
  id: string;
  title: string;
  /** A few characters after the title, such as a count. */
  note?: Child;
  /** Whether there is something to show. */
  when: () => unknown;
  make: () => Panel;
}

export interface Tabs {
  node: HTMLElement;
  show: (id: string, target?: string) => boolean;
  /** Show exactly the tabs that have something to show now. */
  refresh: () => void;
  dispose: () => void;
}

/** Return tabs, of which `start` is open, or else the first one. `onOpen` is called for each one that is opened later. */
export function tabs(specs: TabSpec[], label: string, start = "", onOpen?: (id: string) => void): Tabs {
  const list = h("div", { role: "tablist", class: "pbr-tabs", "aria-label": label });
  const node = h("div", { class: "pbr-tabbed" }, list);
  const panels = new Map<string, Panel>();
  const entries = specs.map((spec) => {
    const [tabId, panelId] = [freshId("tab"), freshId("panel")];
    const note = spec.note ? h("span", { class: "pbr-count" }, spec.note) : null;
    const tab = h(
      "button",
      { type: "button", role: "tab", id: tabId, "aria-controls": panelId },
      h("span", { class: "pbr-tab-title", "data-title": spec.title }, spec.title),
      note,
    );
    const panel = h("div", {
      role: "tabpanel",
      id: panelId,
      "aria-labelledby": tabId,
      class: "pbr-panel",
      tabindex: 0,
      hidden: true,
    });
    tab.addEventListener("click", () => choose(spec.id));
    node.append(panel);
    return { spec, tab, panel };
  });

  const offered = (): typeof entries => entries.filter(({ tab }) => tab.parentNode === list);

  function refresh(): void {
    let before: Element | null = null;
    for (const { spec, tab } of entries) {
      const isOffered = spec.when() || tab.getAttribute("aria-selected") === "true";
      if (!isOffered) tab.remove();
      else if (tab.parentNode !== list) list.insertBefore(tab, before ? before.nextSibling : list.firstChild);
      if (isOffered) before = tab;
    }
    bringIntoSight();
  }

  /** Scroll the row, and not the page, to the tab that is open. */
  function bringIntoSight(): void {
    const tab = entries.find((entry) => entry.tab.getAttribute("aria-selected") === "true")?.tab;
    if (!tab || list.scrollWidth <= list.clientWidth) return;
    const [row, place] = [list.getBoundingClientRect(), tab.getBoundingClientRect()];
    if (place.left < row.left) list.scrollLeft -= row.left - place.left;
    else if (place.right > row.right) list.scrollLeft += place.right - row.right;
  }
  // The row has a width once it is on the page, and another one when the page has.
  const watcher = new ResizeObserver(bringIntoSight);
  watcher.observe(list);

  function show(id: string, target?: string): boolean {
    const current = offered().find((entry) => entry.spec.id === id);
    if (!current) return false;
    for (const { tab, panel } of entries) {
      const active = tab === current.tab;
      tab.setAttribute("aria-selected", String(active));
      tab.tabIndex = active ? 0 : -1;
      panel.hidden = !active;
    }
    let panel = panels.get(id);
    if (!panel) {
      panel = current.spec.make();
      panels.set(id, panel);
      fill(current.panel, panel.node);
    }
    bringIntoSight();
    if (target !== undefined) panel.reveal?.(target);
    return true;
  }

  function choose(id: string, target?: string): boolean {
    onOpen?.(id);
    return show(id, target);
  }

  list.addEventListener("keydown", (event) => {
    const stops = offered();
    const index = stops.findIndex((entry) => entry.tab === event.target);
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined || index < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = stops.at(to % stops.length);
    if (!next) return;
    choose(next.spec.id);
    next.tab.focus();
  });

  refresh();
  const first = offered()[0];
  if (first && !show(start)) show(first.spec.id);
  function dispose(): void {
    watcher.disconnect();
    for (const panel of panels.values()) panel.dispose?.();
  }
  return { node, show: choose, refresh, dispose };
}
