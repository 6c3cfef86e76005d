// The row of a step: state, instruction, bytes with a bar, and duration; below it the log, closed unless the step fails.

import { own } from "../../document";
import { freshId, h } from "../../dom";
import { humanBytes, humanSeconds, instruction } from "../../words";
import { dockerfile } from "../shared/code";
import { icon } from "../shared/icons";
import type { IconName } from "../shared/icons";
import { plainText } from "../shared/ansi";
import type { Log } from "./log";
import { LogView, put } from "./logview";
import type { Cells, Counter, PlanStep, State } from "./protocol";
import { Rate } from "./rate";

const ICONS: Partial<Record<State, IconName>> = { done: "check", cached: "check", error: "cross", canceled: "stop" };
const WORDS: Record<State, string> = { waiting: "waiting", running: "running", done: "done", cached: "cached", error: "failed", canceled: "canceled" };
const BADGES: Partial<Record<State, string>> = { cached: "CACHED", error: "ERROR", canceled: "CANCELED" };
const TAIL = 300; // characters of the latest line of a running step

/** Return how wide a place like `9/31` becomes in digits, so that the instructions of a stage stand below each other. */
const placeWidth = (place: string): number => 2 * place.slice(place.indexOf("/") + 1).length + 1;

export class Row {
  readonly node: HTMLElement;
  state: State = "waiting";
  private cells: Cells = ["waiting", 0];
  private isOpen = false;
  /** Whether the step has failed, and its row opens as soon as there is something to show. */
  private isToOpen = false;
  private view: LogView | null = null;
  private readonly rate = new Rate();
  private readonly button: HTMLButtonElement;
  private readonly sign = h("span", { class: "pbp-sign" });
  private readonly spoken = h("span", { class: "pbp-hidden" });
  private readonly note = h("span", { class: "pbp-note" });
  private readonly fraction = h("div", { class: "pbp-fraction" });
  private readonly bar: HTMLElement;
  private readonly time = h("span", { class: "pbp-time" });
  private readonly tail = h("div", { class: "pbp-tail", "aria-hidden": "true" });
  private readonly panel = h("div", { class: "pbp-panel", hidden: true });
  private readonly counters = h("ul", { class: "pbp-counters", hidden: true });
  private readonly error = h("p", { class: "pbp-error", hidden: true });
  private shownCounters = "";

  constructor(
    readonly step: PlanStep,
    private readonly log: () => Log | undefined,
    /** Whether the build has ended, so that a waiting step was not run. */
    private readonly hasEnded = false,
  ) {
    const code = dockerfile(instruction(step.text));
    code.classList.add("pbp-name");
    code.title = step.text;
    this.panel.id = freshId("panel");
    this.button = h(
      "button",
      { type: "button", class: "pbp-toggle", "aria-expanded": "false", "aria-controls": this.panel.id, "data-lm-suppress-shortcuts": "true", onclick: () => this.toggle() },
      h("span", { class: "pbp-chevron" }, icon("chevron")),
      this.sign,
      step.place ? h("span", { class: "pbp-place", style: `min-width: ${placeWidth(step.place)}ch` }, step.place) : null,
      code,
      this.spoken,
    );
    this.bar = h("div", { class: "pbp-bar", role: "progressbar", "aria-label": `Bytes of ${step.text.slice(0, 80)}`, "aria-valuemin": 0, "aria-valuemax": 100, hidden: true }, this.fraction);
    this.node = h(
      "li",
      { class: "pbp-step" },
      h("div", { class: "pbp-row" }, this.button, h("span", { class: "pbp-meter" }, this.note, this.bar), this.time),
      this.tail,
      this.panel,
    );
    this.panel.append(this.counters, this.error);
    this.setState("waiting");
  }

  /** Show the progress of the step; `time` is when the page received it, in milliseconds. */
  update(cells: Cells, time: number): void {
    this.cells = cells;
    const [state, , counters = [], bytes = [0, 0], error = ""] = cells;
    if (state !== this.state) this.setState(state);
    put(this.error, error && state === "error" ? error : "");
    this.error.hidden = !this.error.textContent;
    this.meter(counters, bytes, time);
    this.list(counters);
    this.draw();
  }

  private setState(state: State): void {
    const failed = state === "error" && this.state !== "error";
    this.state = state;
    this.node.dataset["state"] = state;
    const name = own(ICONS, state);
    this.sign.replaceChildren(...(name ? [icon(name)] : []));
    put(this.spoken, ` (${state === "waiting" && this.hasEnded ? "not run" : (own(WORDS, state) ?? "")})`);
    this.time.classList.toggle("pbp-badge", Object.hasOwn(BADGES, state));
    this.clock(0);
    if (failed) this.isToOpen = true;
  }

  /** Show the bytes of a pull, a context, an export or a push, and their rate. */
  private meter(counters: Counter[], [current, total]: [number, number], time: number): void {
    const isRunning = this.state === "running";
    const busy = counters.filter(([, , , isDone]) => !isDone);
    const lone = busy.find(([, count]) => count > 0);
    const count = total ? current : (lone?.[1] ?? 0);
    const rate = isRunning && count ? this.rate.take(count, time) : 0;
    const words = total ? [`${humanBytes(current)} / ${humanBytes(total)}`] : count ? [humanBytes(count)] : busy.slice(-1).map(([id]) => id.replace(/:$/, ""));
    if (rate >= 1) words.push(`${humanBytes(rate)}/s`);
    put(this.note, isRunning ? words.join(" · ") : "");
    this.note.title = busy.map(([id]) => id).join("\n");
    this.bar.hidden = !isRunning || !(total || count);
    const share = total ? Math.min(100, Math.floor((current / total) * 100)) : 0;
    this.bar.classList.toggle("pbp-endless", !total);
    if (total) this.bar.setAttribute("aria-valuenow", String(share));
    else this.bar.removeAttribute("aria-valuenow");
    this.bar.setAttribute("aria-valuetext", words.join(", ") || "under way");
    this.fraction.style.width = total ? `${((current / total) * 100).toFixed(1)}%` : "";
  }

  /** Show each counter, if the row is open and has several. */
  private list(counters: Counter[]): void {
    const key = counters.length > 1 && this.isOpen ? JSON.stringify(counters) : "";
    this.counters.hidden = !key;
    if (key === this.shownCounters) return;
    this.shownCounters = key;
    this.counters.replaceChildren(
      ...(key ? counters : []).map(([id, current, total, isDone]) =>
        h(
          "li",
          { class: isDone ? "pbp-ended" : null },
          h("code", { title: id }, id),
          h("span", { class: "pbp-num" }, total ? `${humanBytes(current)} / ${humanBytes(total)}` : current ? humanBytes(current) : isDone ? "done" : ""),
        ),
      ),
    );
  }

  /** Count the seconds of a running step, of which `since` have passed since its last message. */
  clock(since: number): void {
    const [, seconds] = this.cells;
    const isWaiting = this.state === "waiting";
    put(this.time, own(BADGES, this.state) ?? (isWaiting ? (this.hasEnded ? "not run" : "") : humanSeconds(seconds + (this.state === "running" ? since : 0))));
  }

  private get hasPanel(): boolean {
    return !(this.log()?.isEmpty ?? true) || !this.error.hidden || (this.cells[2]?.length ?? 0) > 1;
  }

  private toggle(): void {
    this.open(!this.isOpen);
    this.list(this.cells[2] ?? []);
  }

  private open(isOpen: boolean): void {
    this.isOpen = isOpen;
    this.isToOpen = false;
    this.button.setAttribute("aria-expanded", String(isOpen));
    this.panel.hidden = !isOpen;
    this.draw();
  }

  /** Draw the log if it is open; a closed one shows only its last line. */
  draw(): void {
    if (this.isToOpen && this.hasPanel) return this.open(true);
    this.button.disabled = !this.hasPanel && !this.isOpen;
    const log = this.log();
    put(this.tail, !this.isOpen && this.state === "running" && log ? plainText(log.last).slice(0, TAIL) : "");
    if (!this.isOpen || !log || log.isEmpty) return;
    if (!this.view) {
      this.view = new LogView(log, `Log of ${this.step.text.slice(0, 80)}`, freshId("log"));
      this.panel.prepend(this.view.node);
    }
    this.view.draw();
  }

  /** Show a node below the log. */
  append(node: HTMLElement): void {
    this.panel.append(node);
  }

  focus(): void {
    this.button.focus();
  }

  get canFocus(): boolean {
    return !this.button.disabled;
  }

  owns(node: EventTarget | null): boolean {
    return node === this.button;
  }
}
