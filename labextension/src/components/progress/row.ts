// One step: its state, its instruction, bytes with a bar, how long it takes, and below it the log, closed unless it fails.

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
const TAIL = 300; // characters of the line that a running step is at

export class Row {
  readonly node: HTMLElement;
  state: State = "waiting";
  private cells: Cells = ["waiting", 0];
  private isOpen = false;
  private view: LogView | null = null;
  private readonly rate = new Rate();
  private readonly button: HTMLButtonElement;
  private readonly sign = h("span", { class: "pbp-sign" });
  private readonly said = h("span", { class: "pbp-hidden" });
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
    /** Whether the build has ended, so that a step that waits was not run. */
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
      step.place ? h("span", { class: "pbp-place" }, step.place) : null,
      code,
      this.said,
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

  /** Takes in how far the step is; `at` is when the page heard of it, in milliseconds. */
  update(cells: Cells, at: number): void {
    this.cells = cells;
    const [state, , counters = [], bytes = [0, 0], error = ""] = cells;
    if (state !== this.state) this.setState(state);
    put(this.error, error && state === "error" ? error : "");
    this.error.hidden = !this.error.textContent;
    this.meter(counters, bytes, at);
    this.list(counters);
    this.draw();
  }

  private setState(state: State): void {
    const failed = state === "error" && this.state !== "error";
    this.state = state;
    this.node.dataset["state"] = state;
    const name = own(ICONS, state);
    this.sign.replaceChildren(...(name ? [icon(name)] : []));
    put(this.said, ` (${state === "waiting" && this.hasEnded ? "not run" : (own(WORDS, state) ?? "")})`);
    this.time.classList.toggle("pbp-badge", Object.hasOwn(BADGES, state));
    this.clock(0);
    if (failed) this.open(true);
  }

  /** The bytes of a pull, a context, an export or a push, and how fast they come. */
  private meter(counters: Counter[], [current, total]: [number, number], at: number): void {
    const running = this.state === "running";
    const busy = counters.filter(([, , , ended]) => !ended);
    const lone = busy.find(([, count]) => count > 0);
    const count = total ? current : (lone?.[1] ?? 0);
    const rate = running && count ? this.rate.take(count, at) : 0;
    const words = total ? [`${humanBytes(current)} / ${humanBytes(total)}`] : count ? [humanBytes(count)] : busy.slice(-1).map(([id]) => id.replace(/:$/, ""));
    if (rate >= 1) words.push(`${humanBytes(rate)}/s`);
    put(this.note, running ? words.join(" · ") : "");
    this.note.title = busy.map(([id]) => id).join("\n");
    this.bar.hidden = !running || !(total || count);
    const share = total ? Math.min(100, Math.floor((current / total) * 100)) : 0;
    this.bar.classList.toggle("pbp-endless", !total);
    if (total) this.bar.setAttribute("aria-valuenow", String(share));
    else this.bar.removeAttribute("aria-valuenow");
    this.bar.setAttribute("aria-valuetext", words.join(", ") || "under way");
    this.fraction.style.width = total ? `${((current / total) * 100).toFixed(1)}%` : "";
  }

  /** The counters one by one, when the row is open and there is more than one. */
  private list(counters: Counter[]): void {
    const key = counters.length > 1 && this.isOpen ? JSON.stringify(counters) : "";
    this.counters.hidden = !key;
    if (key === this.shownCounters) return;
    this.shownCounters = key;
    this.counters.replaceChildren(
      ...(key ? counters : []).map(([id, current, total, ended]) =>
        h(
          "li",
          { class: ended ? "pbp-ended" : null },
          h("code", { title: id }, id),
          h("span", { class: "pbp-num" }, total ? `${humanBytes(current)} / ${humanBytes(total)}` : current ? humanBytes(current) : ended ? "done" : ""),
        ),
      ),
    );
  }

  /** Counts the seconds of a running step; `since` is how many have passed since it was last told. */
  clock(since: number): void {
    const [, seconds] = this.cells;
    const waiting = this.state === "waiting";
    put(this.time, own(BADGES, this.state) ?? (waiting ? (this.hasEnded ? "not run" : "") : humanSeconds(seconds + (this.state === "running" ? since : 0))));
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
    this.button.setAttribute("aria-expanded", String(isOpen));
    this.panel.hidden = !isOpen;
    this.draw();
  }

  /** A closed log costs nothing but its last line. */
  draw(): void {
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

  /** Something to show below the log. */
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
