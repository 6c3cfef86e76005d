// The logs of a build as one list of lines, whose heights, styles and matches are known without drawing them.

import type { Vertex } from "../../model";
import { plural, shorten } from "../../words";
import { PLAIN, pieces, plainText } from "../shared/ansi";
import type { Style } from "../shared/ansi";

export type Kind = "line" | "step" | "gap";

/** One step's log: its lines from the first on, of which some in the middle may be missing. */
export interface StepLog {
  vertex: Vertex;
  /** Lines from the first on. */
  head: string[];
  /** Lines up to the last. */
  tail: string[];
  /** Of the lines of both, seconds from the start of the step; empty when they are not known. */
  seconds: number[];
  /** All lines that it printed. */
  count: number;
}

const SPECIAL = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;
const COLORS = /\x1b\[[0-9;:]*m/g;

const split = (text: string | undefined): string[] => (text ? text.split("\n") : []);

/** What a document keeps of a log. */
export function kept(vertex: Vertex): StepLog {
  const [head, tail] = [split(vertex.log_head), split(vertex.log_tail)];
  const count = Math.max(vertex.log_lines ?? 0, head.length + tail.length);
  const seconds = vertex.log_seconds ?? [];
  return { vertex, head, tail, seconds: seconds.length === head.length + tail.length ? seconds : [], count };
}

/** The style with which the next line begins; only what is behind the last reset counts. */
function styleAfter(line: string, style: Style): Style {
  const last = line.lastIndexOf("\x1b[");
  if (last < 0) return style;
  return /^\x1b\[0*m/.test(line.slice(last)) ? PLAIN : pieces(line, style).style;
}

export class LogLines {
  readonly texts: string[] = [];
  readonly kinds: Kind[] = [];
  /** The number of each line in its step, from 1; 0 of what is no line. */
  readonly numbers: number[] = [];
  readonly seconds: (number | undefined)[] = [];
  /** By digest: where the heading of a step is, and its last line. */
  readonly places = new Map<string, { first: number; last: number }>();
  private readonly styles: Style[] = [];
  private lowered: { text: string; starts: Uint32Array } | null = null;

  constructor(logs: StepLog[]) {
    for (const log of logs) this.add(log, logs.length > 1);
  }

  get length(): number {
    return this.texts.length;
  }

  private add({ vertex, head, tail, seconds, count }: StepLog, named: boolean): void {
    const first = this.length;
    if (named) this.push("step", shorten(vertex.name), 0);
    head.forEach((line, at) => this.push("line", line, at + 1, seconds[at]));
    const missing = count - head.length - tail.length;
    if (missing > 0) this.push("gap", `… ${plural(missing, "line")} not kept in the notebook (%build history)`, 0);
    const begin = count - tail.length;
    tail.forEach((line, at) => this.push("line", line, begin + at + 1, seconds[head.length + at]));
    this.places.set(vertex.digest, { first, last: this.length - 1 });
  }

  private push(kind: Kind, text: string, number: number, seconds?: number): void {
    this.kinds.push(kind);
    this.texts.push(text);
    this.numbers.push(number);
    this.seconds.push(seconds);
  }

  /** With which style a line begins: a colour may go on from line to line, but not from step to step. */
  style(at: number): Style {
    for (let next = this.styles.length; next <= at; next += 1) {
      const before = next - 1;
      const goesOn = before >= 0 && this.kinds[before] === "line" && this.kinds[next] === "line";
      this.styles.push(goesOn ? styleAfter(this.texts[before] ?? "", this.styles[before] ?? PLAIN) : PLAIN);
    }
    return this.styles[at] ?? PLAIN;
  }

  plain(at: number): string {
    const text = this.texts[at] ?? "";
    if (!SPECIAL.test(text)) return text;
    const uncolored = text.replace(COLORS, ""); // most lines have nothing else
    return SPECIAL.test(uncolored) ? plainText(text) : uncolored;
  }

  /** All lines in lower case, in one text that is searched at once, and where each begins in it. */
  index(): { text: string; starts: Uint32Array } {
    if (this.lowered) return this.lowered;
    let lines = this.texts.map((_, at) => (this.kinds[at] === "line" ? this.plain(at) : ""));
    const all = lines.join("\n");
    let text = all.toLowerCase();
    // A few letters become longer in lower case, and what follows them moves.
    if (text.length !== all.length) {
      lines = lines.map((line) => line.toLowerCase());
      text = lines.join("\n");
    }
    const starts = new Uint32Array(lines.length + 1);
    lines.forEach((line, at) => (starts[at + 1] = (starts[at] ?? 0) + line.length + 1));
    return (this.lowered = { text, starts });
  }

  /** The lines that have `query`, in any case. */
  find(query: string): number[] {
    const wanted = query.toLowerCase().replaceAll("\n", " ");
    if (!wanted) return [];
    const { text, starts } = this.index();
    const found: number[] = [];
    let line = 0;
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, starts[line + 1])) {
      while ((starts[line + 1] ?? Infinity) <= at) line += 1;
      found.push(line);
      if (line + 1 >= this.length) break;
    }
    return found;
  }

  /** All lines, as one text. */
  text(): string {
    return this.texts.map((_, at) => this.plain(at)).join("\n");
  }

  /** How many rows of `columns` letters stand above each line, and above what would come next. */
  rows(columns: number): Uint32Array {
    const above = new Uint32Array(this.length + 1);
    for (let at = 0; at < this.length; at += 1) {
      const letters = columns < Infinity && this.kinds[at] === "line" ? this.plain(at).length : 0;
      above[at + 1] = (above[at] ?? 0) + Math.max(1, Math.ceil(letters / columns));
    }
    return above;
  }
}

/** The last place of `above` that is not beyond `row`. */
export function lineAt(above: Uint32Array, row: number): number {
  let [low, high] = [0, Math.max(0, above.length - 2)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((above[middle] ?? 0) <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}
