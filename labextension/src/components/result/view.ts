// What every tab of a result gets: the document, the kernel when one runs, and the way to another tab.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import type { Kernel, Summary, TabName } from "../../model";
import type { Trees } from "./trees";

export interface View {
  summary: Summary;
  /** A kernel that knows the result, or has its image; it may answer late, and go away. */
  kernel: Kernel | null;
  /** Calls `listener` whenever there is another kernel, or none any more. */
  whenKernel: (listener: () => void) => void;
  trees: Trees;
  /** Opens a tab, at one thing of it. False when there is no such tab. */
  show: (tab: TabName, target?: string) => boolean;
}

/** A part that depends on the kernel: it alone is drawn again, and what a reader has done elsewhere stays. */
export function live(view: View, make: () => Child): HTMLElement {
  const place = h("div", { class: "pbr-live" });
  const draw = (): void => fill(place, make());
  view.whenKernel(draw);
  draw();
  return place;
}
