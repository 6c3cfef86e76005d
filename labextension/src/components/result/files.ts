// The Files tab: the tree of what was exported, and of the image's root file system where a kernel can tell it.

import { h } from "../../dom";
import type { Child } from "../../dom";
import { runnable } from "../../model";
import type { Columns } from "../../model";
import { humanBytes, plural } from "../../words";
import { columnsOf } from "../shared/columns";
import { fillWith, notKept, note } from "../shared/note";
import { choice } from "../shared/segments";
import type { Panel } from "../shared/tabs";
import { explorer } from "./explorer";
import type { TreeName } from "./trees";
import type { View } from "./view";

interface Source {
  title: string;
  load: () => Promise<() => Child>;
}

export function filesTab(view: View): Panel {
  const { summary, kernel, trees } = view;
  const whole = kernel !== null && !kernel.filesOnly;
  const files = explorer("Files", view, false);
  const said = h("div", { "aria-live": "polite" });
  const sources: Source[] = [];

  const shows = (columns: Columns, name: TreeName | null, told: Child) => (): Child => {
    files.set(columns, name);
    return told;
  };

  (summary.outputs ?? []).forEach((output, index) => {
    const name = { of: `output:${index}`, platform: "" };
    const kept = trees.kept(name);
    if (!kept && !output.files?.length) return;
    const total = `${plural(output.file_count ?? 0, "file")}, ${humanBytes(output.file_bytes ?? 0)}`;
    sources.push({
      title: output.dest || output.type,
      async load() {
        if (kept) {
          const columns = await trees.get(name);
          const more = trees.more(name);
          return shows(columns, name, more ? notKept(more) : note(total));
        }
        // A notebook of an older version has the entries themselves.
        const known = columnsOf(output.files ?? []);
        files.set(known, name);
        if (!output.more_files) return () => note(total);
        if (whole) return shows(await trees.get(name), name, null);
        const shown = `The notebook keeps the ${plural(known.name.length, "entry")} nearest to the root`;
        const more = `${plural(output.more_files, "more entry")} can be seen while the kernel that made them runs`;
        return () => note(`${total}. ${shown}; ${more}.`);
      },
    });
  });
  const manifests = runnable(summary.image);
  for (const { platform } of manifests) {
    const title = manifests.length > 1 ? `Image ${platform}` : "Image";
    const name = { of: "image", platform };
    if (!trees.has(name)) continue;
    sources.push({
      title,
      async load() {
        const columns = await trees.get(name);
        const more = trees.more(name);
        return shows(columns, name, more ? notKept(more) : null);
      },
    });
  }
  const { node, press } = choice(
    "Tree",
    sources.map((source) => source.title),
    (index) => {
      const source = sources[index];
      if (source) void fillWith(said, source.load());
    },
  );
  if (sources.length) press(0);
  return { node: h("div", null, sources.length > 1 ? node : null, said, files.node) };
}
