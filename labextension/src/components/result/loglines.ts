// The logs of a build as a single list of lines, whose heights, styles and matches are computed without drawing.

import type { Vertex } from "../../model";
import { plural, shorten } from "../../words";
import { PLAIN, pieces, plainText } from "../shared/ansi";
import type { Style } from "../shared/ansi";

export type Kind = "line" | "step" | "gap";

/** The log of a step; lines in the middle may be missing. */
export interface StepLog {
  vertex: Vertex;
  /** The first lines. */
  head: string[];
  /** The last lines. */
  tail: string[];
  /** Seconds from the start of the step, for the lines of both; empty when unknown. */
  seconds: number[];
  /** The number of lines that the step printed. */
  count: number;
}

const SPECIAL = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;
const COLORS = /\x1b\[[0-9;:]*m/g;

const split = (text: string | undefined): string[] => (text ? text.split("\n") : []);

/** Return the part of a log that a document keeps. */
export function keptLog(vertex: Vertex): StepLog {
  const [head, tail] = [split(vertex.log_head), split(vertex.log_tail)];
  const count = Math.max(vertex.log_lines ?? 0, head.length + tail.length);
  const seconds = vertex.log_seconds ?? [];
  return { vertex, head, tail, seconds: seconds.length === head.length + tail.length ? seconds : [], count };
}

/** Return the style with which the next line begins; only sequences after the last reset matter. */
function styleAfter(line: string, style: Style): Style {
  const last = line.lastIndexOf("\x1b[");
  if (last < 0) return style;
  return /^\x1b\[0*m/.test(line.slice(last)) ? PLAIN : pieces(line, style).style;
}

export class LogLines {
  readonly texts: string[] = [];
  readonly kinds: Kind[] = [];
  /** The number of each line in its step, from 1; 0 for headings and gaps. */
  readonly numbers: number[] = [];
  readonly seconds: (number | undefined)[] = [];
  /** The index of the heading and of the last line of each step, by digest. */
  readonly places = new Map<string, { first: number; last: number }>();
  private readonly styles: Style[] = [];
  private lowered: { text: string; starts: Uint32Array } | null = null;

  /** The number of lines that the steps printed, including those that are missing here. */
  readonly count: number;

  constructor(logs: StepLog[]) {
    this.count = logs.reduce((sum, log) => sum + log.count, 0);
    for (const log of logs) this.add(log, logs.length > 1);
  }

  get length(): number {
    return this.texts.length;
  }

  private add({ vertex, head, tail, seconds, count }: StepLog, hasHeading: boolean): void {
    const first = this.length;
    if (hasHeading) this.push("step", shorten(vertex.name), 0);
    head.forEach((line, index) => this.push("line", line, index + 1, seconds[index]));
    const missing = count - head.length - tail.length;
    if (missing > 0) this.push("gap", `… ${plural(missing, "line")} not kept in the notebook (%build history)`, 0);
    const begin = count - tail.length;
    tail.forEach((line, index) => this.push("line", line, begin + index + 1, seconds[head.length + index]));
    this.places.set(vertex.digest, { first, last: this.length - 1 });
  }

  private push(kind: Kind, text: string, number: number, seconds?: number): void {
    this.kinds.push(kind);
    this.texts.push(text);
    this.numbers.push(number);
    this.seconds.push(seconds);
  }

  /** Return the style with which a line begins: a colour continues from line to line, but not from step to step. */
  style(index: number): Style {
    for (let next = this.styles.length; next <= index; next += 1) {
      const before = next - 1;
      const goesOn = before >= 0 && this.kinds[before] === "line" && this.kinds[next] === "line";
      this.styles.push(goesOn ? styleAfter(this.texts[before] ?? "", this.styles[before] ?? PLAIN) : PLAIN);
    }
    return this.styles[index] ?? PLAIN;
  }

  plain(index: number): string {
    const text = this.texts[index] ?? "";
    if (!SPECIAL.test(text)) return text;
    const uncolored = text.replace(COLORS, ""); // most lines have no other sequences
    return SPECIAL.test(uncolored) ? plainText(text) : uncolored;
  }

  /** Return all lines in lower case, joined for the search, and where each begins. */
  index(): { text: string; starts: Uint32Array } {
    if (this.lowered) return this.lowered;
    let lines = this.texts.map((_, line) => (this.kinds[line] === "line" ? this.plain(line) : ""));
    const original = lines.join("\n");
    let text = original.toLowerCase();
    // In lower case a few letters take more characters, which moves the following text.
    if (text.length !== original.length) {
      lines = lines.map((line) => line.toLowerCase());
      text = lines.join("\n");
    }
    const starts = new Uint32Array(lines.length + 1);
    lines.forEach((line, index) => (starts[index + 1] = (starts[index] ?? 0) + line.length + 1));
    return (this.lowered = { text, starts });
  }

  /** Return the lines that contain `query`, in any case. */
  find(query: string): number[] {
    const needle = query.toLowerCase().replaceAll("\n", " ");
    if (!needle) return [];
    const { text, starts } = this.index();
    const matches: number[] = [];
    let line = 0;
    for (let position = text.indexOf(needle); position >= 0; position = text.indexOf(needle, starts[line + 1])) {
      while ((starts[line + 1] ?? Infinity) <= position) line += 1;
      matches.push(line);
      if (line + 1 >= this.length) break;
    }
    return matches;
  }

  /** Return all lines as a text. */
  text(): string {
    return this.texts.map((_, index) => this.plain(index)).join("\n");
  }

  /** Return the number of rows of `columns` letters above each line, and above the end. */
  rows(columns: number): Uint32Array {
    const rowsAbove = new Uint32Array(this.length + 1);
    for (let index = 0; index < this.length; index += 1) {
      const letters = columns < Infinity && this.kinds[index] === "line" ? this.plain(index).length : 0;
      rowsAbove[index + 1] = (rowsAbove[index] ?? 0) + Math.max(1, Math.ceil(letters / columns));
    }
    return rowsAbove;
  }
}

/** Return the line that occupies a row. */
export function lineAt(rowsAbove: Uint32Array, row: number): number {
  let [low, high] = [0, Math.max(0, rowsAbove.length - 2)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((rowsAbove[middle] ?? 0) <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}
