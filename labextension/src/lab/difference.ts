// The files that differ between two images, in a tab of their own.

import { Widget } from "@lumino/widgets";
import { fill, h } from "../dom";
import type { Kernel } from "../model";
import { betweenImages } from "../components/result/compare";
import { explorer } from "../components/result/explorer";
import { fillWith } from "../components/shared/note";

export class Difference extends Widget {
  constructor(kernel: Kernel, before: string, after: string) {
    super();
    this.addClass("pb-explorer");
    const place = h("div", { class: "pb-explorer-place" });
    fill(
      this.node,
      h(
        "section",
        { class: "pbr pb-difference", "aria-label": `From ${before} to ${after}`, "data-lm-suppress-shortcuts": "true" },
        place,
      ),
    );
    void fillWith(
      place,
      betweenImages(kernel, before, after).then(([columns, summary]) => {
        const files = explorer(`files that differ from ${before} to ${after}`, null, true);
        files.set(columns, null);
        return [summary, files.node];
      }),
    );
  }
}
