// The differences between two layers of an image, and between two images.

import { h } from "../../dom";
import type { Child } from "../../dom";
import type { Columns, FileEntry, Kernel } from "../../model";
import { humanBytes, plural } from "../../words";
import { columnsOf, entriesOf } from "../shared/columns";
import { note } from "../shared/note";
import { table } from "../shared/table";

/** Return the entries that differ from `before`, after the changes of the layers in `between`. */
export function betweenLayers(before: Columns, between: Columns[]): Columns {
  const pathsBefore = new Set<string>();
  for (const { path, change } of entriesOf(before)) if (change !== "D") pathsBefore.add(path);
  const changes = new Map<string, FileEntry>();
  for (const layer of between) for (const entry of entriesOf(layer)) if (entry.change) changes.set(entry.path, entry);
  const entries: FileEntry[] = [];
  for (const [path, entry] of changes) {
    const isRemoved = entry.change === "D";
    if (isRemoved && !pathsBefore.has(path)) continue; // added and removed in between
    entries.push({ ...entry, change: isRemoved ? "D" : pathsBefore.has(path) ? "M" : "A" });
  }
  return columnsOf(entries);
}

interface Difference {
  /** Change, path, bytes (of a removed file those before), bytes before, type. */
  files: [string, string, number, number | null, string][];
  config: { key: string; before: string | null; after: string | null }[];
  shared_layers: number;
  layers_after: number;
  size_before: number;
  size_after: number;
  total: number;
}

/** Return the differences from the image `other` of the store to that of `token`: the files, and the rest in words. */
export async function betweenImages(kernel: Kernel, other: string, token: string): Promise<[Columns, Child]> {
  const { result } = await kernel.ask("compare", { a: other, b: token });
  const difference = result as Difference;
  const { files } = difference;
  const columns = columnsOf(files.map(([change, path, size, , type]) => ({ path, type, mode: -1, size, change })));
  const grown = difference.size_after - difference.size_before;
  const facts = [
    `${plural(difference.total, "entry")} differ${files.length < difference.total ? `, the first ${files.length} are shown` : ""}`,
    `${difference.shared_layers} of ${plural(difference.layers_after, "layer")} shared`,
    grown ? `${humanBytes(Math.abs(grown))} ${grown > 0 ? "more" : "less"}` : "same size",
  ];
  const rows = difference.config.map((setting) => [h("code", null, setting.key), code(setting.before), code(setting.after)]);
  return [
    columns,
    [
      note(`From ${other} to this image: ${facts.join("; ")}.`),
      rows.length
        ? table("What differs in the config", [{ title: "Config" }, { title: other }, { title: "This image" }], rows)
        : null,
    ],
  ];
}

const code = (text: string | null): Child =>
  text === null ? h("span", { class: "pbr-dim" }, "none") : h("code", null, text);

/** Return the names of the images in the store. */
export async function storedImages(kernel: Kernel): Promise<string[]> {
  const { result } = await kernel.ask("images", {});
  return (result as { images: { name: string }[] }).images.map((image) => image.name);
}
