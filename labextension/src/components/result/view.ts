// What every tab of a result gets: the document, the kernel when one runs, and the way to another tab.

import type { Kernel, Summary, TabName } from "../../model";
import type { Trees } from "./trees";

export interface View {
  summary: Summary;
  /** A kernel that knows the result, or has its image. */
  kernel: Kernel | null;
  trees: Trees;
  /** Opens a tab, at one thing of it. False when there is no such tab. */
  show: (tab: TabName, target?: string) => boolean;
}
