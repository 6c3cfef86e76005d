// The progress of a build: a head with its state and a cancel button, and below it the steps, by stage.

import { freshId, h } from "../../dom";
import { humanSeconds, plural } from "../../words";
import { icon } from "../shared/icons";
import { Announcer } from "./announcer";
import { Canceler, connection } from "./cancel";
import { Log } from "./log";
import { put } from "./logview";
import type { Cells, Logs, Model, Plan, PlanStep, Progress } from "./protocol";
import { Row } from "./row";

const FRAME = 50; // milliseconds between two drawings: the eye sees no more than twenty a second
const CLOCK = 100; // milliseconds between two updates of the clock
const SILENCE = 5000; // milliseconds without a message after which something is wrong: the kernel sends one every second

const BUSY = "The kernel is busy with another cell. The build is canceled as soon as that cell ends.";
const DEAF = "The kernel cannot be reached while its cell runs: stop the cell with the notebook's own button.";

/** The state that all views of a build share; it is collected even before the first view is drawn. */
export class Store {
  readonly logs = new Map<string, Log>();
  heard = performance.now();
  /** Whether the kernel has confirmed that it cancels the build. */
  isCanceling = false;

  take(news: Logs): void {
    for (const [digest, part] of Object.entries(news)) {
      let log = this.logs.get(digest);
      if (!log) this.logs.set(digest, (log = new Log()));
      log.take(part);
    }
  }
}

/** Return the heading of a step. */
export function groupName(step: PlanStep): string {
  if (step.place === undefined) return step.kind === "export" ? "Export" : step.kind === "internal" ? "Preparation" : "Sources";
  return [step.stage, step.platform].filter(Boolean).join(" · ") || "Steps";
}

/** The steps of a stage under its name. */
export class Group {
  readonly list: HTMLElement;
  readonly node: HTMLElement;
  private readonly count = h("span", { class: "pbp-count" });

  constructor(readonly name: string) {
    const id = freshId("stage");
    this.list = h("ul", { class: "pbp-list", "aria-labelledby": id });
    this.node = h("div", { class: "pbp-group" }, h("div", { class: "pbp-stage", id }, h("span", null, name), this.count), this.list);
  }

  /** Show how many of its steps are done; the colour of its line shows that, too. */
  update(rows: Row[]): void {
    const ended = rows.filter((row) => ["done", "cached"].includes(row.state)).length;
    put(this.count, rows.length > 1 ? ` ${ended}/${rows.length}` : "");
    const state = rows.some((row) => row.state === "error") ? "error" : ended === rows.length ? "done" : rows.some((row) => row.state === "running") ? "running" : "waiting";
    this.node.dataset["group"] = state;
  }
}

export function renderProgress(root: HTMLElement, model: Model, store: Store): () => void {
  const rows = new Map<string, Row>();
  let groups: Group[] = [];
  let order: Row[] = [];
  let shownPlan: Plan | null = null;
  let isCanceling = false;
  const announcer = new Announcer();
  const canceler = new Canceler(model);

  const sign = h("span", { class: "pbp-sign" });
  const title = h("span", { class: "pbp-title" });
  const builder = h("span", { class: "pbp-builder" });
  const facts = h("span", { class: "pbp-facts" });
  const time = h("span", { class: "pbp-time" });
  const button = h("button", { type: "button", class: "pbp-cancel", "aria-label": "Cancel build", "data-lm-suppress-shortcuts": "true", onclick: press }, icon("stop"), h("span", null, "Cancel"));
  const bar = h("div", { class: "pbp-total", role: "progressbar", "aria-label": "Steps done", "aria-valuemin": 0 });
  const silence = h("p", { class: "pbp-silence", role: "alert", hidden: true });
  const steps = h("div", { class: "pbp-steps" });
  const section = h(
    "section",
    { class: "pbp", "aria-label": "Build progress" },
    h("div", { class: "pbp-head" }, sign, h("span", { class: "pbp-what" }, title, builder), facts, time, button),
    bar,
    silence,
    steps,
    announcer.node,
  );
  root.append(section);

  function press(): void {
    if (isCanceling) return;
    isCanceling = true;
    showState();
    canceler.cancel(() => store.isCanceling || model.get("state").canceling, () => {
      const { background } = model.get("plan");
      put(silence, background ? BUSY : DEAF);
      silence.hidden = false;
    });
  }

  function showPlan(plan: Plan): void {
    shownPlan = plan;
    put(title, plan.title);
    put(builder, plan.builder);
    section.setAttribute("aria-label", `Progress of the build of ${plan.title}`);
    const before = groups;
    groups = [];
    order = [];
    const filled = new Map<Group, number>();
    for (const step of plan.steps) {
      const name = groupName(step);
      let group = groups[groups.length - 1];
      if (group?.name !== name) groups.push((group = before.find((candidate) => candidate.name === name && !groups.includes(candidate)) ?? new Group(name)));
      let row = rows.get(step.digest);
      if (row?.step.text !== step.text) rows.set(step.digest, (row = new Row(step, () => store.logs.get(step.digest))));
      order.push(row);
      const position = filled.get(group) ?? 0;
      place(group.list, row.node, position);
      filled.set(group, position + 1);
    }
    groups.forEach((group, index) => place(steps, group.node, index));
    for (const group of before) if (!groups.includes(group)) group.node.remove();
    for (const [digest, row] of rows) if (!plan.steps.some((step) => step.digest === digest)) row.node.remove();
    steps.classList.toggle("pbp-staged", groups.length > 1);
    bar.replaceChildren(...plan.steps.filter((step) => step.kind !== "internal").map((step) => h("i", { "data-of": step.digest })));
  }

  function showState(): void {
    const state = model.get("state");
    isCanceling ||= state.canceling || store.isCanceling;
    const failed = order.some((row) => row.state === "error");
    section.dataset["build"] = failed ? "error" : isCanceling ? "canceling" : "running";
    sign.replaceChildren(...(failed ? [icon("cross")] : []));
    const warnings = state.warnings ? ` · ${plural(state.warnings, "warning")}` : "";
    const prefix = failed ? "Failing · " : isCanceling ? "Canceling · " : "";
    put(facts, `${prefix}${state.done} of ${plural(state.total, "step")}${warnings}`);
    button.disabled = isCanceling || failed;
    bar.setAttribute("aria-valuemax", String(Math.max(1, state.total)));
    bar.setAttribute("aria-valuenow", String(state.done));
    bar.setAttribute("aria-valuetext", `${state.done} of ${plural(state.total, "step")} done`);
    for (const part of bar.children as HTMLCollectionOf<HTMLElement>) {
      const row = rows.get(part.dataset["of"] ?? "");
      if (row && part.dataset["state"] !== row.state) part.dataset["state"] = row.state;
    }
  }

  function announce(row: Row, cells: Cells, state: Progress): void {
    const [now, seconds] = cells;
    if (now === row.state || now === "waiting" || now === "running" || row.step.kind === "internal") return;
    const how = { done: `done in ${humanSeconds(seconds)}`, cached: "was cached", error: "failed", canceled: "canceled" }[now];
    announcer.say(`${row.step.text.slice(0, 60)}: ${how}. ${state.done} of ${state.total}.`);
  }

  function draw(): void {
    const plan = model.get("plan");
    if (plan !== shownPlan) showPlan(plan);
    const state = model.get("state");
    let at = 0;
    for (const group of groups) {
      const members: Row[] = [];
      for (; at < order.length && order[at]?.node.parentNode === group.list; at += 1) {
        const row = order[at];
        const cells = state.steps[at];
        if (!row) continue;
        members.push(row);
        if (!cells) continue;
        announce(row, cells, state);
        row.update(cells, store.heard);
      }
      group.update(members);
    }
    showState();
    tick();
  }

  function tick(): void {
    const now = performance.now();
    const quiet = now - store.heard;
    const status = connection(model)?.status;
    const isGone = status === "dead" || status === "terminating" || quiet > SILENCE;
    section.classList.toggle("pbp-quiet", isGone);
    if (isGone) put(silence, `No word from the kernel for ${humanSeconds(Math.floor(quiet / 1000))}: it has stopped, or is very busy.`);
    if (isGone || !isCanceling) silence.hidden = !isGone;
    const since = Math.min(quiet, SILENCE) / 1000;
    put(time, humanSeconds(Math.floor((model.get("state").elapsed + since) * 10) / 10));
    for (const row of rows.values()) if (row.state === "running") row.clock(since);
  }

  // Arrow keys go from step to step, as in a list; each button is also a stop of the tab key.
  steps.addEventListener("keydown", (event) => {
    const stops = order.filter((row) => row.canFocus);
    const index = stops.findIndex((row) => row.owns(event.target));
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: stops.length - 1 }[event.key];
    if (index < 0 || to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    stops[to]?.focus();
  });

  let timer = 0;
  let drawnAt = -Infinity;
  const later = (): void => {
    timer ||= window.setTimeout(
      () => {
        timer = 0;
        drawnAt = performance.now();
        draw();
      },
      Math.max(0, drawnAt + FRAME - performance.now()),
    );
  };
  const events = ["change:plan", "change:state", "change:logs", "msg:custom"];
  for (const event of events) model.on(event, later);
  const clock = window.setInterval(tick, CLOCK);
  canceler.prepare();
  draw();
  return () => {
    clearInterval(clock);
    clearTimeout(timer);
    announcer.dispose();
    canceler.dispose();
    for (const event of events) model.off(event, later);
    section.remove();
  };
}

/** Make `node` the child of `parent` at an index, and move it only if it is elsewhere. */
function place(parent: Element, node: Element, index: number): void {
  const current = parent.children[index];
  if (current !== node) parent.insertBefore(node, current ?? null);
}
