// Lines of a log as a terminal shows them: plain text as it is, colours as spans.

import { h } from "../../dom";
import { PLAIN, pieces } from "./ansi";
import type { Style } from "./ansi";
import { dress } from "./ansicolor";

export function span(text: string, style: Style): HTMLElement {
  const node = h("span", null, text);
  dress(node, style);
  return node;
}

/** Adds a line, without its end; returns the style that the next one begins with. */
export function addLine(node: ParentNode, line: string, style: Style): Style {
  const found = pieces(line, style);
  for (const piece of found.pieces) node.append(piece.style === PLAIN ? piece.text : span(piece.text, piece.style));
  return found.style;
}

/** All of a short log. */
export function logText(lines: string[]): DocumentFragment {
  const made = document.createDocumentFragment();
  let style = PLAIN;
  lines.forEach((line, at) => {
    if (at) made.append("\n");
    style = addLine(made, line, style);
  });
  return made;
}
