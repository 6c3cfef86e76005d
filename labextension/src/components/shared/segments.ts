// A choice of one of a few, in a row of buttons, above what was chosen; of one alone, only that.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";

export interface Segment {
  title: string;
  make: () => Child;
}

export interface Choice {
  node: HTMLElement;
  press: (index: number) => void;
  /** Presses the button of something again, with or without which there is only one to choose from. */
  offer: (isOffered: (index: number) => boolean) => void;
}

/** A row of buttons of which one is pressed. */
export function choice(label: string, titles: string[], choose: (index: number) => void): Choice {
  const buttons = titles.map((title, index) =>
    h("button", { type: "button", class: "pbr-segment", "aria-pressed": "false", onclick: () => press(index) }, title),
  );
  function press(index: number): void {
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
    choose(index);
  }
  const node = h("div", { role: "group", "aria-label": label, class: "pbr-segments" }, buttons);
  function offer(isOffered: (index: number) => boolean): void {
    buttons.forEach((button, at) => (button.hidden = !isOffered(at)));
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
    list.map((one) => one.title),
    (index) => fill(body, (parts[index] ??= h("div", null, list[index]?.make()))),
  );
  if (list.length) press(0);
  return h("div", null, list.length > 1 ? node : null, body);
}
