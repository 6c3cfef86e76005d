// The part of a step's log that a page has: the last few thousand lines by their numbers, in blocks.

import type { LogNews } from "./protocol";

/** The number of lines of a step that a page keeps. */
export const KEPT = 5000;
/** The number of lines in a block, which is drawn and dropped as a whole. */
export const BLOCK = 200;

export class Log {
  /** The number of lines that the step has printed. */
  count = 0;
  /** The beginning of the next line, which has no end yet. */
  rest = "";
  /** Lines by their number divided by `BLOCK`; lines that were not sent to this page are missing. */
  readonly blocks = new Map<number, (string | undefined)[]>();
  /** Grows whenever a block changes. */
  readonly versions = new Map<number, number>();

  /** Return the number of the first line to keep, whether this page has it or not. */
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
    for (const [number, lines] of runs) {
      for (let index = Math.max(0, first - number); index < lines.length; index += 1) this.put(number + index, lines[index] ?? "");
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

  /** Return the latest line of the step. */
  get last(): string {
    const number = this.count - 1;
    return this.rest || (this.blocks.get(Math.floor(number / BLOCK))?.[number % BLOCK] ?? "");
  }

  /** Return the numbers of the blocks from the first to the last one that has lines. */
  keys(): number[] {
    const keys = [...this.blocks.keys()];
    if (!keys.length) return [];
    const [first, last] = [Math.min(...keys), Math.max(...keys)];
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  }
}
