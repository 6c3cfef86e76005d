// One step's log as far as a page knows it: lines by their number, the last few thousand of them, in blocks.

import type { LogNews } from "./protocol";

/** Lines of one step that a page keeps. */
export const KEPT = 5000;
/** Lines of one block, which is drawn, and dropped, as one. */
export const BLOCK = 200;

export class Log {
  /** All lines that the step has printed. */
  count = 0;
  /** The beginning of a line to come. */
  rest = "";
  /** By number divided by `BLOCK`: the lines; those that this page was not sent are missing. */
  readonly blocks = new Map<number, (string | undefined)[]>();
  /** Grows when anything of a block changes. */
  readonly versions = new Map<number, number>();

  /** The number of the first line that is kept, whether this page has it or not. */
  get first(): number {
    return Math.max(0, Math.ceil((this.count - KEPT) / BLOCK) * BLOCK);
  }

  get isEmpty(): boolean {
    return this.count === 0 && !this.rest;
  }

  take([count, runs, rest]: LogNews): void {
    this.count = Math.max(this.count, count);
    this.rest = rest;
    const { first } = this;
    for (const [begin, lines] of runs) {
      for (let at = Math.max(0, first - begin); at < lines.length; at += 1) this.put(begin + at, lines[at] ?? "");
    }
    for (const key of this.blocks.keys()) {
      if (key * BLOCK >= first) continue;
      this.blocks.delete(key);
      this.versions.delete(key);
    }
  }

  private put(number: number, line: string): void {
    const key = Math.floor(number / BLOCK);
    let block = this.blocks.get(key);
    if (!block) this.blocks.set(key, (block = []));
    if (block[number % BLOCK] === line) return;
    block[number % BLOCK] = line;
    this.versions.set(key, (this.versions.get(key) ?? 0) + 1);
  }

  /** The line that the step is at. */
  get last(): string {
    const number = this.count - 1;
    return this.rest || (this.blocks.get(Math.floor(number / BLOCK))?.[number % BLOCK] ?? "");
  }

  /** The numbers of the blocks that are kept and of which at least one line is known, or missing among known ones. */
  keys(): number[] {
    const known = [...this.blocks.keys()];
    if (!known.length) return [];
    const [first, last] = [Math.min(...known), Math.max(...known)];
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  }
}
