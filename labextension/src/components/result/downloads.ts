// The Downloads tab: each output of the build, to be fetched from the machine of the kernel.

import { h } from "../../dom";
import type { Child } from "../../dom";
import { humanBytes } from "../../words";
import { copyButton } from "../shared/digest";
import { downloadButton } from "../shared/download";
import { icon } from "../shared/icons";
import { needsKernel } from "../shared/note";
import type { Panel } from "../shared/tabs";
import { place } from "./headline";
import { live } from "./view";
import type { View } from "./view";

export function downloadsTab(view: View): Panel {
  const starts = new Map<string, () => void>();
  return {
    node: live(view, () => written(view, starts)),
    reveal: (index) => starts.get(index)?.(),
  };
}

/** Fill `starts` with the function that begins the download of each output, by its index. */
function written({ kernel: any, summary }: View, starts: Map<string, () => void>): Child {
  const kernel = any?.filesOnly ? null : any;
  starts.clear();
  const rows = (summary.outputs ?? []).flatMap((output, index): Child[] => {
    if (!output.dest) return [];
    const { dest } = output;
    const [sign, words] = place(output, summary);
    const isDir = output.type === "local";
    const name = dest.replace(/\/+$/, "").split("/").at(-1) || "output";
    let action: Child = null;
    if (kernel) {
      const { node, start } = downloadButton({
        kernel,
        method: "download",
        params: { of: `output:${index}` },
        name: isDir ? `${name}.tar` : name,
        size: output.size ?? 0,
      });
      starts.set(String(index), start);
      action = node;
    }
    return [
      h(
        "li",
        { class: "pbr-file-row" },
        icon(sign),
        h(
          "div",
          null,
          h("code", { class: "pbr-where-path" }, dest),
          copyButton(dest, "path"),
          h(
            "div",
            { class: "pbr-dim" },
            `${words}, ${humanBytes(output.size ?? 0)}${isDir ? "; downloads as a tar" : ""}`,
          ),
        ),
        action,
      ),
    ];
  });
  return [h("ul", { class: "pbr-file-rows" }, rows), kernel ? null : needsKernel("What was written")];
}
