// A log in the page: one element a block, drawn anew only when its lines change, and the end kept in sight.

import { h } from "../../dom";
import { PLAIN, pieces } from "../shared/ansi";
import type { Style } from "../shared/ansi";
import { addLine, span } from "../shared/logtext";
import { BLOCK } from "./log";
import type { Log } from "./log";

const NEAR = 6; // pixels from the end that still count as the end

interface Drawn {
  node: HTMLElement;
  version: number;
  /** With which style the block began and ended: a colour may go on from line to line. */
  begins: Style;
  ends: Style;
}

export class LogView {
  readonly node: HTMLElement;
  private readonly earlier = h("div", { class: "pbp-gap" });
  private readonly rest = h("div", { class: "pbp-rest" });
  private readonly drawn = new Map<number, Drawn>();
  private restText = "";
  private follows = true;

  constructor(
    private readonly log: Log,
    label: string,
    id: string,
  ) {
    // Something that scrolls has to be within reach of the keyboard.
    this.node = h("div", { class: "pbp-log", id, role: "region", "aria-label": label, tabindex: 0, "data-lm-suppress-shortcuts": "true" });
    this.node.append(this.earlier, this.rest);
    this.node.addEventListener("scroll", () => (this.follows = this.isAtEnd()), { passive: true });
  }

  private isAtEnd(): boolean {
    return this.node.scrollTop + this.node.clientHeight >= this.node.scrollHeight - NEAR;
  }

  /** Brings the page up to what the log is. */
  draw(): void {
    const { log } = this;
    const keys = log.keys();
    for (const [key, { node }] of this.drawn) {
      if (keys[0] !== undefined && key >= keys[0]) continue;
      node.remove();
      this.drawn.delete(key);
    }
    let before: Element = this.earlier;
    let style = PLAIN;
    for (const key of keys) {
      const version = log.versions.get(key) ?? 0;
      let block = this.drawn.get(key);
      if (!block || block.version !== version || block.begins !== style) {
        const node = block?.node ?? h("div", { class: "pbp-block" });
        block = { node, version, begins: style, ends: style };
        block.ends = fillBlock(node, log, key, style);
        this.drawn.set(key, block);
      }
      if (before.nextSibling !== block.node) before.after(block.node);
      before = block.node;
      style = block.ends;
    }
    const begin = (keys[0] ?? 0) * BLOCK;
    put(this.earlier, begin > 0 ? gap(begin) : "");
    if (this.restText !== log.rest) {
      this.restText = log.rest;
      this.rest.replaceChildren();
      addLine(this.rest, log.rest, style);
    }
    if (this.follows) this.node.scrollTop = this.node.scrollHeight;
  }
}

const gap = (count: number): string => `… ${count.toLocaleString("en-US")} more ${count === 1 ? "line is" : "lines are"} in the build's log (%build history)`;

/** Draws one block; returns the style that the next one begins with. */
function fillBlock(node: HTMLElement, log: Log, key: number, style: Style): Style {
  const lines = log.blocks.get(key) ?? [];
  const size = Math.min(BLOCK, log.count - key * BLOCK);
  const made = document.createDocumentFragment();
  let text = "";
  const flush = (): void => {
    if (text) made.append(text);
    text = "";
  };
  for (let at = 0, missing = 0; at < size; at += 1) {
    const line = lines[at];
    if (line === undefined) {
      missing += 1;
      if (at + 1 < size && lines[at + 1] === undefined) continue;
      flush();
      made.append(h("div", { class: "pbp-gap" }, gap(missing)));
      missing = 0;
      style = PLAIN;
      continue;
    }
    const found = pieces(line, style);
    style = found.style;
    for (const piece of found.pieces) {
      if (piece.style === PLAIN) text += piece.text;
      else {
        flush();
        made.append(span(piece.text, piece.style));
      }
    }
    text += "\n";
  }
  flush();
  node.replaceChildren(made);
  return style;
}

/** Sets the text of a node that has nothing else, if it differs. */
export function put(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
