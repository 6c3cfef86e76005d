// A choice among a few parts: a row of buttons above the chosen part; a single part has no buttons.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";

export interface Segment {
  title: string;
  make: () => Child;
}

export interface Choice {
  node: HTMLElement;
  press: (index: number) => void;
  /** Show the buttons of the choices that are offered now; a single one needs no button. */
  offer: (isOffered: (index: number) => boolean) => void;
}

/** Return a row of buttons, one of which is pressed. */
export function choice(label: string, titles: string[], choose: (index: number) => void): Choice {
  const buttons = titles.map((title, index) =>
    h("button", { type: "button", class: "pbr-segment", "aria-pressed": "false", onclick: () => press(index) }, title),
  );
  function press(index: number): void {
    buttons.forEach((button, position) => button.setAttribute("aria-pressed", String(position === index)));
    choose(index);
  }
  const node = h("div", { role: "group", "aria-label": label, class: "pbr-segments" }, buttons);
  function offer(isOffered: (index: number) => boolean): void {
    buttons.forEach((button, position) => (button.hidden = !isOffered(position)));
    node.hidden = buttons.filter((button) => !button.hidden).length < 2;
  }
  return { node, press, offer };
}

/** The choice with what is chosen below it. Each part is made once, and is as the reader left it when it is shown again. */
export function segments(label: string, list: Segment[]): HTMLElement {
  const body = h("div");
  const parts: Child[] = [];
  const { node, press } = choice(
    label,
    list.map((item) => item.title),
    (index) => fill(body, (parts[index] ??= h("div", null, list[index]?.make()))),
  );
  if (list.length) press(0);
  return h("div", null, list.length > 1 ? node : null, body);
}
