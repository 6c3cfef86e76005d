// The Files tab: the tree of what was exported, and of the image's root file system where a kernel can tell it.

import { fill, h } from "../../dom";
import { runnable } from "../../model";
import { humanBytes, plural } from "../../words";
import { columnsOf } from "../shared/filetree";
import { fillWith, note } from "../shared/note";
import { choice } from "../shared/segments";
import type { Panel } from "../shared/tabs";
import { explorer } from "./explorer";
import { fetchFiles } from "./view";
import type { TreeName, View } from "./view";

interface Source {
  title: string;
  load: () => void;
}

export function filesTab(view: View): Panel {
  const { summary, kernel } = view;
  const files = explorer("Files", kernel, false);
  const said = h("div", { "aria-live": "polite" });
  const sources: Source[] = [];

  function fetched(name: TreeName): void {
    if (!kernel) return;
    void fillWith(
      said,
      fetchFiles(kernel, name).then((columns) => {
        files.set(columns, name);
        return null;
      }),
    );
  }

  (summary.outputs ?? []).forEach((output, index) => {
    if (!output.files?.length) return;
    const name = { of: `output:${index}`, platform: "" };
    const total = `${plural(output.file_count ?? 0, "file")}, ${humanBytes(output.file_bytes ?? 0)}`;
    sources.push({
      title: output.dest || output.type,
      load() {
        const known = columnsOf(output.files ?? []);
        files.set(known, kernel ? name : null);
        if (!output.more_files) return fill(said, note(total));
        if (kernel) fetched(name);
        else
          fill(
            said,
            note(
              `${total}. The notebook keeps the ${plural(known.path.length, "entry")} nearest to the root; ${plural(output.more_files, "more entry")} can be seen while the kernel that made them runs.`,
            ),
          );
      },
    });
  });
  const manifests = kernel ? runnable(summary.image) : [];
  for (const { platform } of manifests) {
    const title = manifests.length > 1 ? `Image ${platform}` : "Image";
    sources.push({ title, load: () => fetched({ of: "image", platform }) });
  }
  const { node, press } = choice(
    "Tree",
    sources.map((source) => source.title),
    (index) => {
      fill(said);
      sources[index]?.load();
    },
  );
  if (sources.length) press(0);
  return { node: h("div", null, sources.length > 1 ? node : null, said, files.node) };
}
