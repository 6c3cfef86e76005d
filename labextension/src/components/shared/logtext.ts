// The lines of a log as a terminal shows them: plain text unchanged, colours as spans.

import { h } from "../../dom";
import { PLAIN, pieces } from "./ansi";
import type { Style } from "./ansi";
import { dress } from "./ansicolor";

export function span(text: string, style: Style): HTMLElement {
  const node = h("span", null, text);
  dress(node, style);
  return node;
}

/** Append a line, without its end; returns the style with which the next one begins. */
export function addLine(node: ParentNode, line: string, style: Style): Style {
  const parts = pieces(line, style);
  for (const piece of parts.pieces) node.append(piece.style === PLAIN ? piece.text : span(piece.text, piece.style));
  return parts.style;
}

/** Return the whole of a short log. */
export function logText(lines: string[]): DocumentFragment {
  const fragment = document.createDocumentFragment();
  let style = PLAIN;
  lines.forEach((line, index) => {
    if (index) fragment.append("\n");
    style = addLine(fragment, line, style);
  });
  return fragment;
}
