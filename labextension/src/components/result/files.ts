// The Files tab: the tree of what was exported, and of the image's root file system where a kernel can tell it.

import { h } from "../../dom";
import type { Child } from "../../dom";
import { runnable } from "../../model";
import type { Output } from "../../model";
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
  /** Whether it can be shown: a kernel may have it. */
  isThere: () => boolean;
  /** Fills the tree; tells whether that is all, and what is to be said of it. */
  load: () => Promise<{ isWhole: boolean; said: () => Child }>;
}

export function filesTab(view: View): Panel {
  const { summary, trees } = view;
  const files = explorer("Files", view, false);
  const said = h("div", { "aria-live": "polite" });

  async function tree(name: TreeName, told: Child): ReturnType<Source["load"]> {
    const columns = await trees.get(name);
    const more = trees.more(name);
    const show = (): Child => {
      files.set(columns, name);
      return more ? notKept(more) : told;
    };
    return { isWhole: !more, said: show };
  }

  /** A notebook of an older version has the entries themselves. */
  async function listed(output: Output, name: TreeName, total: string): ReturnType<Source["load"]> {
    const known = columnsOf(output.files ?? []);
    files.set(known, name);
    if (!output.more_files) return { isWhole: true, said: () => note(total) };
    if (view.kernel && !view.kernel.filesOnly) return tree(name, null);
    const shown = `The notebook keeps the ${plural(known.name.length, "entry")} nearest to the root`;
    const more = `${plural(output.more_files, "more entry")} can be seen while the kernel of this build runs`;
    return { isWhole: false, said: () => note(`${total}. ${shown}; ${more}.`) };
  }

  const sources: Source[] = (summary.outputs ?? []).flatMap((output, index) => {
    const name = { of: `output:${index}`, platform: "" };
    const isKept = Boolean(trees.kept(name));
    if (!isKept && !output.files?.length) return [];
    const total = `${plural(output.file_count ?? 0, "file")}, ${humanBytes(output.file_bytes ?? 0)}`;
    const load = (): ReturnType<Source["load"]> => (isKept ? tree(name, note(total)) : listed(output, name, total));
    return [{ title: output.dest || output.type, isThere: () => true, load }];
  });
  const manifests = runnable(summary.image);
  for (const { platform } of manifests) {
    const title = manifests.length > 1 ? `Image ${platform}` : "Image";
    const name = { of: "image", platform };
    sources.push({ title, isThere: () => trees.has(name), load: () => tree(name, null) });
  }

  let chosen = -1;
  let isWhole = true;
  async function load(source: Source): Promise<() => Child> {
    const found = await source.load();
    ({ isWhole } = found);
    return found.said;
  }
  const { node, press, offer } = choice(
    "Tree",
    sources.map((source) => source.title),
    (index) => {
      const source = sources[index];
      chosen = index;
      if (source) void fillWith(said, load(source));
    },
  );
  const look = (): void => {
    offer((index) => sources[index]?.isThere() ?? false);
    const first = sources.findIndex((source) => source.isThere());
    if (chosen < 0 && first >= 0) press(first);
    else if (view.kernel && !isWhole) press(chosen);
  };
  view.whenKernel(look);
  look();
  return { node: h("div", null, node, said, files.node) };
}
