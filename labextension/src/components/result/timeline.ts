// The Timeline tab: when each step worked, which ran at once, and the critical path.

import { fill, h } from "../../dom";
import type { Vertex } from "../../model";
import { humanSeconds, plural, stepName } from "../../words";
import { icon } from "../shared/icons";
import { note } from "../shared/note";
import { isCached } from "./headline";
import { schedule, ticks } from "./schedule";
import type { Item, Schedule } from "./schedule";
import { STATE_ICONS, stateOf, stepDetails, took } from "./step";
import type { Panel } from "../shared/tabs";
import type { View } from "./view";

const percent = (part: number, whole: number): string => `${whole > 0 ? (100 * part) / whole : 0}%`;

function bar(item: Item, total: number): HTMLElement {
  const node = h("span", { class: `pbr-span pbr-span-${stateOf(item.vertex)}${item.critical ? " pbr-critical" : ""}` });
  node.style.left = percent(item.start, total);
  node.style.width = percent(item.end - item.start, total);
  return node;
}

/** Return all steps, in one line for each that ran at the same time. */
function lanes(plan: Schedule): HTMLElement {
  const rows = Array.from({ length: plan.lanes }, () => h("div", { class: "pbr-lane" }));
  for (const item of plan.items) {
    const line = bar(item, plan.total);
    line.title = `${stepName(item.vertex.name).text}\n${took(item.vertex)}`;
    rows[item.lane]?.append(line);
  }
  return h("div", { class: "pbr-lanes", "aria-hidden": "true" }, rows);
}

function axis(total: number): HTMLElement {
  const marks = ticks(total).map((second) => {
    const mark = h("span", { class: "pbr-tick" }, humanSeconds(second));
    mark.style.left = percent(second, total);
    return mark;
  });
  return h("div", { class: "pbr-axis", "aria-hidden": "true" }, marks);
}

function stats(plan: Schedule): HTMLElement {
  const cached = plan.items.filter((item) => item.vertex.cached).length;
  const facts: [string, string][] = [
    [humanSeconds(plan.total), "from the first step to the last"],
    [humanSeconds(plan.critical), "on the critical path"],
    [String(plan.lanes), plan.lanes === 1 ? "step at a time" : "steps at once, at most"],
    [plural(cached, "step"), "from the cache"],
  ];
  return h(
    "ul",
    { class: "pbr-stats" },
    facts.map(([value, words]) => h("li", null, h("b", null, value), h("span", { class: "pbr-dim" }, words))),
  );
}

const LONGEST = 3; // slowest steps that are named
const WORTH = 0.0005; // seconds from which a time is named

/** Return how a build that found everything in the cache spent its time. */
function whereTimeWent(view: View, plan: Schedule): HTMLElement | null {
  if (!isCached(view.summary)) return null;
  const total = Math.max(view.summary.seconds ?? 0, plan.total);
  const spent = plan.items
    .map(({ vertex, start, end }): [string, number] => [stepName(vertex.name).text, end - start])
    .filter(([, seconds]) => seconds >= WORTH)
    .sort(([, a], [, b]) => b - a);
  const parts = spent.slice(0, LONGEST);
  const others = spent.slice(LONGEST).reduce((sum, [, seconds]) => sum + seconds, 0);
  if (others >= WORTH) parts.push(["other steps", others]);
  const beside = total - plan.total + plan.idle;
  if (beside >= WORTH) parts.push(["before, between and after the steps", beside]);
  const rows = parts.map(([name, seconds]) =>
    h("li", null, h("b", null, humanSeconds(seconds)), h("span", { class: "pbr-dim" }, name)),
  );
  return h(
    "div",
    { class: "pbr-spent" },
    note(`Every step of the Dockerfile was cached. The ${humanSeconds(total)} went into:`),
    h("ul", { class: "pbr-lines", "aria-label": "Where the time went" }, rows),
  );
}

export function timelineTab(view: View): Panel {
  const plan = schedule(view.summary.vertexes ?? []);
  // Steps that were not run come last, without a time.
  const waiting = (view.summary.vertexes ?? []).filter((vertex) => stateOf(vertex) === "waiting");
  const places: [Vertex, Item | null][] = [
    ...plan.items.map((item): [Vertex, Item] => [item.vertex, item]),
    ...waiting.map((vertex): [Vertex, null] => [vertex, null]),
  ];
  const rows = places.map(([vertex, item]) => {
    const name = stepName(vertex.name);
    const state = stateOf(vertex);
    const stage = vertex.stage || name.stage || (vertex.kind === "export" ? "export" : "");
    const detail = h("div", { class: "pbr-row-detail", hidden: true });
    const button = h(
      "button",
      { type: "button", class: "pbr-time-row", "aria-expanded": "false", title: vertex.name, onclick: () => toggle() },
      h(
        "span",
        { class: `pbr-step-state pbr-is-${state}` },
        icon(STATE_ICONS[state]),
        h("span", { class: "pbr-hidden" }, `${state} `),
      ),
      h(
        "span",
        { class: "pbr-step-name" },
        stage ? h("span", { class: "pbr-stage", title: stage }, stage) : null,
        h("code", null, name.text),
      ),
      h("span", { class: "pbr-step-time" }, took(vertex)),
      h(
        "span",
        { class: "pbr-track" },
        item ? bar(item, plan.total) : null,
        item?.critical ? h("span", { class: "pbr-hidden" }, " on the critical path") : null,
      ),
    );
    function toggle(): void {
      detail.hidden = !detail.hidden;
      button.setAttribute("aria-expanded", String(!detail.hidden));
      if (!detail.firstChild)
        fill(
          detail,
          stepDetails(view, vertex, (digest) => view.show("graph", digest)),
        );
    }
    if (state === "error") toggle();
    return h("li", null, button, detail);
  });
  const omitted = view.summary.omitted?.["vertexes"] ?? 0;
  return {
    node: h(
      "div",
      { class: "pbr-timeline" },
      stats(plan),
      whereTimeWent(view, plan),
      lanes(plan),
      axis(plan.total),
      h(
        "div",
        { class: "pbr-legend", "aria-hidden": "true" },
        h("span", { class: "pbr-swatch pbr-critical" }),
        "critical path: what the build waited for",
        h("span", { class: "pbr-swatch" }),
        "other steps",
      ),
      h("ol", { class: "pbr-rows", "aria-label": "Steps in the order in which they began" }, rows),
      omitted ? h("p", { class: "pbr-note" }, `${plural(omitted, "more step")} not kept in the notebook.`) : null,
    ),
  };
}
