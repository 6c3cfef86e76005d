// The arguments of every tab of a result: the document, the kernel if one runs, and the way to another tab.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import type { Kernel, Summary, TabName } from "../../model";
import type { Trees } from "./trees";

export interface View {
  summary: Summary;
  /** A kernel that knows the result, or has its image; it may come late, and go away. */
  kernel: Kernel | null;
  /** Call `listener` whenever the kernel changes, also to none. */
  whenKernel: (listener: () => void) => void;
  /** Call `listener` whenever a cell has run, which may have removed something from the store. */
  whenRun: (listener: () => void) => void;
  trees: Trees;
  /** Open a tab, at one part of it; returns false when there is no such tab. */
  show: (tab: TabName, target?: string) => boolean;
}

/** Return a part that depends on the kernel. Only it is drawn again, and the state of all else stays. */
export function live(view: View, make: () => Child): HTMLElement {
  const place = h("div", { class: "pbr-live" });
  const draw = (): void => fill(place, make());
  view.whenKernel(draw);
  draw();
  return place;
}
