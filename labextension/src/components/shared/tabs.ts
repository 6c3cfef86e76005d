// Tabs as ARIA has them: one stop for the tab key, arrows between them, and each panel made when it is first shown.

import { fill, freshId, h } from "../../dom";
import type { Child } from "../../dom";

export interface Panel {
  node: HTMLElement;
  /** Shows one thing of it, such as a layer by its digest. */
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
  /** Shows the tabs, and no others, of which there is something to show now. */
  refresh: () => void;
  dispose: () => void;
}

/** `start` is the tab that is open first; without it, the first one is. `shown` hears of every other one. */
export function tabs(specs: TabSpec[], label: string, start = "", shown?: (id: string) => void): Tabs {
  const list = h("div", { role: "tablist", class: "pbr-tabs", "aria-label": label });
  const node = h("div", { class: "pbr-tabbed" }, list);
  const made = new Map<string, Panel>();
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
  }

  function show(id: string, target?: string): boolean {
    const chosen = offered().find((entry) => entry.spec.id === id);
    if (!chosen) return false;
    for (const { tab, panel } of entries) {
      const active = tab === chosen.tab;
      tab.setAttribute("aria-selected", String(active));
      tab.tabIndex = active ? 0 : -1;
      panel.hidden = !active;
    }
    let panel = made.get(id);
    if (!panel) {
      panel = chosen.spec.make();
      made.set(id, panel);
      fill(chosen.panel, panel.node);
    }
    if (target !== undefined) panel.reveal?.(target);
    return true;
  }

  function choose(id: string, target?: string): boolean {
    shown?.(id);
    return show(id, target);
  }

  list.addEventListener("keydown", (event) => {
    const stops = offered();
    const at = stops.findIndex((entry) => entry.tab === event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = stops.at(to % stops.length);
    if (!next) return;
    choose(next.spec.id);
    next.tab.focus();
    next.tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  });

  refresh();
  const first = offered()[0];
  if (first && !show(start)) show(first.spec.id);
  return { node, show: choose, refresh, dispose: () => made.forEach((panel) => panel.dispose?.()) };
}
