// The Files tab: the trees of exported files, and of the image's root file system where it is known.

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
  /** Whether the tree can be shown, by the document or a kernel. */
  isThere: () => boolean;
  /** Fill the tree; resolves to whether it is complete, and a remark about it. */
  load: () => Promise<{ isWhole: boolean; status: () => Child }>;
}

export function filesTab(view: View): Panel {
  const { summary, trees } = view;
  const files = explorer("Files", view, false);
  const statusLine = h("div", { "aria-live": "polite" });

  async function tree(name: TreeName, remark: Child): ReturnType<Source["load"]> {
    const columns = await trees.get(name);
    const omitted = trees.omittedCount(name);
    const show = (): Child => {
      files.set(columns, name);
      return omitted ? notKept(omitted) : remark;
    };
    return { isWhole: !omitted, status: show };
  }

  /** Read the entries as notebooks of older versions have them. */
  async function listed(output: Output, name: TreeName, total: string): ReturnType<Source["load"]> {
    const kept = columnsOf(output.files ?? []);
    files.set(kept, name);
    if (!output.more_files) return { isWhole: true, status: () => note(total) };
    if (view.kernel && !view.kernel.filesOnly) return tree(name, null);
    const keptSentence = `The notebook keeps the ${plural(kept.type.length, "entry")} nearest to the root`;
    const restSentence = `${plural(output.more_files, "more entry")} can be seen while the kernel of this build runs`;
    return { isWhole: false, status: () => note(`${total}. ${keptSentence}; ${restSentence}.`) };
  }

  const sources: Source[] = (summary.outputs ?? []).flatMap((output, index) => {
    const name = { of: `output:${index}`, platform: "" };
    const isKept = Boolean(trees.keptTree(name));
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

  let current = -1;
  let isWhole = true;
  async function load(source: Source): Promise<() => Child> {
    const content = await source.load();
    ({ isWhole } = content);
    return content.status;
  }
  const { node, press, offer } = choice(
    "Tree",
    sources.map((source) => source.title),
    (index) => {
      const source = sources[index];
      current = index;
      if (source) void fillWith(statusLine, load(source));
    },
  );
  const refresh = (): void => {
    offer((index) => sources[index]?.isThere() ?? false);
    const first = sources.findIndex((source) => source.isThere());
    if (current < 0 && first >= 0) press(first);
    else if (view.kernel && !isWhole) press(current);
  };
  view.whenKernel(refresh);
  refresh();
  return { node: h("div", null, node, statusLine, files.node) };
}
