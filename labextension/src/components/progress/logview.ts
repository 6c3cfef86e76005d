// A log on the page: an element for each block, drawn again only when its lines change. The end stays in sight.

import { h } from "../../dom";
import { PLAIN, pieces } from "../shared/ansi";
import type { Style } from "../shared/ansi";
import { addLine, span } from "../shared/logtext";
import { BLOCK } from "./log";
import type { Log } from "./log";

const NEAR = 6; // pixels from the end that still count as the end

interface DrawnBlock {
  node: HTMLElement;
  version: number;
  /** The style at the start and at the end of the block: a colour continues from line to line. */
  begins: Style;
  ends: Style;
}

export class LogView {
  readonly node: HTMLElement;
  private readonly earlier = h("div", { class: "pbp-gap" });
  private readonly rest = h("div", { class: "pbp-rest" });
  private readonly blocks = new Map<number, DrawnBlock>();
  private restText = "";
  private follows = true;

  constructor(
    private readonly log: Log,
    label: string,
    id: string,
  ) {
    // The keyboard must reach an element that scrolls.
    this.node = h("div", { class: "pbp-log", id, role: "region", "aria-label": label, tabindex: 0, "data-lm-suppress-shortcuts": "true" });
    this.node.append(this.earlier, this.rest);
    this.node.addEventListener("scroll", () => (this.follows = this.isAtEnd()), { passive: true });
  }

  private isAtEnd(): boolean {
    return this.node.scrollTop + this.node.clientHeight >= this.node.scrollHeight - NEAR;
  }

  /** Bring the page up to date with the log. */
  draw(): void {
    const { log } = this;
    const keys = log.keys();
    for (const [key, { node }] of this.blocks) {
      if (keys[0] !== undefined && key >= keys[0]) continue;
      node.remove();
      this.blocks.delete(key);
    }
    let before: Element = this.earlier;
    let style = PLAIN;
    for (const key of keys) {
      const version = log.versions.get(key) ?? 0;
      let block = this.blocks.get(key);
      if (!block || block.version !== version || block.begins !== style) {
        const node = block?.node ?? h("div", { class: "pbp-block" });
        block = { node, version, begins: style, ends: style };
        block.ends = fillBlock(node, log, key, style);
        this.blocks.set(key, block);
      }
      if (before.nextSibling !== block.node) before.after(block.node);
      before = block.node;
      style = block.ends;
    }
    const number = (keys[0] ?? 0) * BLOCK;
    put(this.earlier, number > 0 ? gap(number) : "");
    if (this.restText !== log.rest) {
      this.restText = log.rest;
      this.rest.replaceChildren();
      addLine(this.rest, log.rest, style);
    }
    if (this.follows) this.node.scrollTop = this.node.scrollHeight;
  }
}

const gap = (count: number): string => `… ${count.toLocaleString("en-US")} more ${count === 1 ? "line is" : "lines are"} in the build's log (%build history)`;

/** Draw a block; returns the style with which the next one begins. */
function fillBlock(node: HTMLElement, log: Log, key: number, style: Style): Style {
  const lines = log.blocks.get(key) ?? [];
  const size = Math.min(BLOCK, log.count - key * BLOCK);
  const fragment = document.createDocumentFragment();
  let text = "";
  const flush = (): void => {
    if (text) fragment.append(text);
    text = "";
  };
  for (let index = 0, missing = 0; index < size; index += 1) {
    const line = lines[index];
    if (line === undefined) {
      missing += 1;
      if (index + 1 < size && lines[index + 1] === undefined) continue;
      flush();
      fragment.append(h("div", { class: "pbp-gap" }, gap(missing)));
      missing = 0;
      style = PLAIN;
      continue;
    }
    const parts = pieces(line, style);
    style = parts.style;
    for (const piece of parts.pieces) {
      if (piece.style === PLAIN) text += piece.text;
      else {
        flush();
        fragment.append(span(piece.text, piece.style));
      }
    }
    text += "\n";
  }
  flush();
  node.replaceChildren(fragment);
  return style;
}

/** Set the text of a node that holds only text, if it differs. */
export function put(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
