// Ways into an image or a failed step, as buttons that only the JupyterLab extension shows.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import type { Kernel } from "../../model";
import { icon } from "../shared/icons";
import type { IconName } from "../shared/icons";
import { note } from "../shared/note";
import type { View } from "./view";

/** Return a button, which is hidden until the extension finds it: other pages have no terminals and no choice of kernels. */
export const way = (kind: string, ref: string, sign: IconName, words: string): HTMLElement =>
  h("span", { hidden: true, class: "pbr-button pbr-small", "data-pybuild-open": `${kind} ${ref}` }, icon(sign), words);

/**
 * Return a place for the ways to `ref`, a name in the kernel's store. When the store has lost it, also to a cell that has
 * run since, a sentence says so instead.
 */
export function offers(view: View, ref: string, ways: (kernel: Kernel | null) => Child): HTMLElement {
  const place = h("div", { class: "pbr-uses" });
  let shown: string | undefined;
  async function draw(): Promise<void> {
    const { kernel } = view;
    const answer = kernel && ref ? kernel.ask("available", { ref }) : null;
    const why = (await answer?.then(({ result }) => (result as { why: string }).why).catch(() => "")) ?? "";
    if (kernel !== view.kernel) return;
    const state = `${kernel ? "kernel" : ""} ${why}`;
    if (state !== shown) fill(place, why ? note(why) : ways(kernel));
    shown = state;
  }
  view.whenKernel(() => void draw());
  view.whenRun(() => void draw());
  void draw();
  return place;
}
