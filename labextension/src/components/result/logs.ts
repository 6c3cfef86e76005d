// The Logs tab: the output of the steps, to be searched, copied, wrapped and timed. Only the lines in sight are drawn.

import { fill, h } from "../../dom";
import type { Kernel, Vertex } from "../../model";
import { plural, shorten } from "../../words";
import { PLAIN, pieces } from "../shared/ansi";
import { span } from "../shared/logtext";
import { copyButton } from "../shared/digest";
import { icon } from "../shared/icons";
import type { Panel } from "../shared/tabs";
import { LogLines, keptLog, lineAt } from "./loglines";
import type { StepLog } from "./loglines";
import { stateOf } from "./step";
import type { View } from "./view";

const HEIGHT = 18; // pixels of a row, as in .pbr-logline
const BEYOND = 10; // rows that are drawn above and below those in sight
const PAGE = 50_000; // lines in one answer
const LONGEST = 20_000; // letters of a line that are drawn

/** Ask the kernel for the whole log of a step. */
async function wholeLog(kernel: Kernel, vertex: Vertex): Promise<StepLog> {
  const [head, seconds]: [string[], number[]] = [[], []];
  for (let total = 1; head.length < total;) {
    const { result } = await kernel.ask("log", { vertex: vertex.digest, offset: head.length, limit: PAGE });
    const page = result as { lines: string[]; seconds?: number[]; total: number };
    if (!page.lines.length) break;
    for (const line of page.lines) head.push(line);
    for (const time of page.seconds ?? []) seconds.push(time);
    ({ total } = page);
  }
  return { vertex, head, tail: [], seconds, count: head.length };
}

export const hasLogs = (vertexes: Vertex[] | undefined): boolean =>
  (vertexes ?? []).some((vertex) => vertex.log_lines || vertex.log_tail);

export function logsTab(view: View): Panel {
  const printed = (view.summary.vertexes ?? []).filter((vertex) => vertex.log_lines || vertex.log_tail);
  const logs = new Map<string, StepLog>(printed.map((vertex) => [vertex.digest, keptLog(vertex)]));
  const failed = printed.find((vertex) => stateOf(vertex) === "error");
  let lines = new LogLines([]);
  let rowsAbove: Uint32Array = new Uint32Array(1);
  let matches: number[] = [];
  let current = -1;
  let query = "";
  let drawnState = "";
  let soon = 0;
  /** The rows on the page, by line, while their look is unchanged. */
  let standing = new Map<number, HTMLElement>();
  let look = "";

  const content = h("div", { class: "pbr-loglines" });
  const spacer = h("div", { class: "pbr-logspace" }, content);
  const box = h("div", { class: "pbr-logbox", tabindex: 0, role: "region", "aria-label": "Log" }, spacer);
  const status = h("span", { class: "pbr-dim pbr-found", role: "status" });
  const input = h("input", { type: "search", class: "pbr-input", placeholder: "Search the log", "aria-label": "Search the log", spellcheck: "false" });
  const stepChoice = h(
    "select",
    { class: "pbr-input pbr-which", "aria-label": "Step", onchange: () => choose() },
    printed.length > 1 ? h("option", { value: "" }, `All ${plural(printed.length, "step")} with output`) : null,
    printed.map((vertex) => h("option", { value: vertex.digest }, shorten(vertex.name).slice(0, 80))),
  );
  const toggle = (title: string, change: (isOn: boolean) => void): HTMLButtonElement => {
    const button = h("button", { type: "button", class: "pbr-toggle", "aria-pressed": "false", onclick: press }, title);
    function press(): void {
      const isOn = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(isOn));
      change(isOn);
    }
    return button;
  };
  const wrap = toggle("Wrap", () => measure());
  const timed = toggle("Times", (isOn) => {
    box.classList.toggle("pbr-timed", isOn);
    measure();
  });
  const step = (sign: "up" | "down", label: string, by: number): HTMLElement =>
    h("button", { type: "button", class: `pbr-button pbr-square pbr-turn-${sign}`, "aria-label": label, title: label, onclick: () => go(by) }, icon("chevron"));

  /** Place the lines: one row each, or as many as the width of the box requires. */
  function measure(): void {
    const top = lineAt(rowsAbove, Math.floor(box.scrollTop / HEIGHT));
    const wraps = wrap.getAttribute("aria-pressed") === "true";
    box.classList.toggle("pbr-wrapped", wraps);
    rowsAbove = lines.rows(wraps ? columns() : Infinity);
    spacer.style.height = `${(rowsAbove[lines.length] ?? 0) * HEIGHT}px`;
    box.scrollTop = (rowsAbove[top] ?? 0) * HEIGHT;
    drawnState = "";
    draw();
  }

  /** Return the number of letters that fit into a row. */
  function columns(): number {
    const ruler = h("span", { class: "pbr-logtext pbr-ruler" }, "0".repeat(100));
    const line = h("div", { class: "pbr-logline" }, h("span", { class: "pbr-lognumber" }), h("span", { class: "pbr-logtime" }), h("span", { class: "pbr-logtext" }, ruler));
    content.append(line);
    const room = (line.lastElementChild as HTMLElement).clientWidth;
    const letter = ruler.getBoundingClientRect().width / 100;
    line.remove();
    return Math.max(20, Math.floor(room / (letter || 7.2)));
  }

  function draw(): void {
    const first = Math.max(0, lineAt(rowsAbove, Math.floor(box.scrollTop / HEIGHT) - BEYOND));
    const last = Math.min(lines.length, lineAt(rowsAbove, Math.ceil((box.scrollTop + box.clientHeight) / HEIGHT) + BEYOND) + 1);
    const key = `${first} ${last} ${query} ${matches[current] ?? ""}`;
    if (key === drawnState) return;
    drawnState = key;
    content.style.transform = `translateY(${(rowsAbove[first] ?? 0) * HEIGHT}px)`;
    const state = `${query} ${matches[current] ?? ""}`;
    if (look !== state) standing.clear();
    look = state;
    const rows = new Map<number, HTMLElement>();
    for (let index = first; index < last; index += 1) rows.set(index, standing.get(index) ?? row(index));
    standing = rows;
    content.replaceChildren(...rows.values());
  }

  function row(index: number): HTMLElement {
    const kind = lines.kinds[index] ?? "line";
    const text = (lines.texts[index] ?? "").slice(0, LONGEST);
    if (kind !== "line") return h("div", { class: `pbr-logline pbr-log-${kind}` }, text);
    const logText = h("span", { class: "pbr-logtext" });
    for (const piece of pieces(text, lines.style(index)).pieces) {
      const parts = marked(piece.text);
      if (piece.style === PLAIN) logText.append(...parts);
      else {
        const node = span("", piece.style);
        node.append(...parts);
        logText.append(node);
      }
    }
    const seconds = lines.seconds[index];
    return h(
      "div",
      { class: `pbr-logline${matches[current] === index ? " pbr-log-match" : ""}` },
      h("span", { class: "pbr-lognumber", "aria-hidden": "true" }, lines.numbers[index]),
      h("span", { class: "pbr-logtime" }, seconds === undefined ? "" : `${seconds.toFixed(1)} s`),
      logText,
    );
  }

  /** Return a text with the matches of the search marked. */
  function marked(text: string): (string | Node)[] {
    if (!query) return [text];
    const parts: (string | Node)[] = [];
    const lower = text.toLowerCase();
    let end = 0;
    for (let position = lower.indexOf(query); position >= 0; position = lower.indexOf(query, end)) {
      parts.push(text.slice(end, position), h("mark", null, text.slice(position, position + query.length)));
      end = position + query.length;
    }
    parts.push(text.slice(end));
    return parts;
  }

  function reveal(index: number): void {
    const top = (rowsAbove[index] ?? 0) * HEIGHT;
    if (top < box.scrollTop || top + HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = Math.max(0, top - box.clientHeight / 2);
    drawnState = "";
    draw();
  }

  function search(): void {
    query = input.value.toLowerCase();
    matches = lines.find(query);
    const top = lineAt(rowsAbove, Math.floor(box.scrollTop / HEIGHT));
    current = matches.length ? Math.max(0, matches.findIndex((line) => line >= top)) : -1;
    tell();
    if (current >= 0) reveal(matches[current] ?? 0);
    else {
      drawnState = "";
      draw();
    }
  }

  function tell(): void {
    const total = lines.kinds.reduce((sum, kind) => sum + Number(kind === "line"), 0);
    const [count, shown] = [matches.length.toLocaleString("en-US"), total.toLocaleString("en-US")];
    const all = plural(lines.count, "line"); // of which the notebook may have cut some
    if (query) fill(status, matches.length ? `${(current + 1).toLocaleString("en-US")} of ${count}` : "Not found");
    else fill(status, total < lines.count ? `${shown} of ${all}` : all);
  }

  function go(by: number): void {
    if (!matches.length) return;
    current = (current + by + matches.length) % matches.length;
    tell();
    reveal(matches[current] ?? 0);
  }

  /** Show the log of the chosen step, or of all; missing lines come from the kernel. */
  function choose(): void {
    const vertexes = printed.filter(({ digest }) => !stepChoice.value || digest === stepChoice.value);
    standing.clear();
    lines = new LogLines(vertexes.map((vertex) => logs.get(vertex.digest) ?? keptLog(vertex)));
    measure();
    search();
    clearTimeout(soon);
    soon = window.setTimeout(() => lines.index(), 50); // makes the first search as fast as later ones
    for (const vertex of vertexes) void complete(vertex);
  }

  async function complete(vertex: Vertex): Promise<void> {
    const log = logs.get(vertex.digest);
    const { kernel } = view;
    if (!kernel || kernel.filesOnly || !log || log.head.length + log.tail.length >= log.count) return;
    const complete = await wholeLog(kernel, vertex).catch(() => null);
    if (!complete || complete.count < log.count) return;
    logs.set(vertex.digest, complete);
    const isAtEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - HEIGHT;
    const [top, count] = [lineAt(rowsAbove, Math.floor(box.scrollTop / HEIGHT)), lines.length];
    const isAbove = top < (lines.places.get(vertex.digest)?.first ?? 0) + log.head.length;
    const wasFound = matches.length > 0;
    choose();
    if (matches.length && !wasFound) return; // what was searched for is in the lines that have come, and in sight
    if (isAtEnd) return toEnd(vertex);
    // New lines above those in sight must not move them.
    box.scrollTop = (rowsAbove[isAbove ? top : top + lines.length - count] ?? 0) * HEIGHT;
    draw();
  }

  function toEnd(vertex: Vertex | undefined): void {
    const place = vertex && lines.places.get(vertex.digest);
    if (place) box.scrollTop = ((rowsAbove[place.last] ?? 0) + 1) * HEIGHT - box.clientHeight;
    draw();
  }

  input.addEventListener("input", search);
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
  });
  box.addEventListener("scroll", draw, { passive: true });
  const resized = new ResizeObserver(() => (wrap.getAttribute("aria-pressed") === "true" ? measure() : draw()));
  resized.observe(box);
  choose();
  view.whenKernel(choose);
  if (failed) requestAnimationFrame(() => toEnd(failed));

  const copy = copyButton(() => lines.text(), "log");
  copy.classList.add("pbr-button", "pbr-square");
  return {
    node: h(
      "div",
      { class: "pbr-logs" },
      h(
        "div",
        { class: "pbr-tools" },
        printed.length > 1 ? stepChoice : null,
        h("label", { class: "pbr-search" }, icon("search"), input),
        step("up", "Previous match", -1),
        step("down", "Next match", 1),
        status,
        h("div", { class: "pbr-toggles" }, wrap, timed),
        failed ? h("button", { type: "button", class: "pbr-button pbr-toerror", onclick: () => toEnd(failed) }, icon("cross"), "Jump to error") : null,
        copy,
      ),
      box,
    ),
    reveal: (digest) => {
      if (printed.length > 1) {
        stepChoice.value = digest;
        choose();
      }
      requestAnimationFrame(() => toEnd(printed.find((vertex) => vertex.digest === digest)));
    },
    dispose: () => {
      clearTimeout(soon);
      resized.disconnect();
    },
  };
}
