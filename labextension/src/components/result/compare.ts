// What differs between an image after one layer and after a later one, and between two images.

import { h } from "../../dom";
import type { Child } from "../../dom";
import type { Columns, FileEntry, Kernel } from "../../model";
import { humanBytes, plural } from "../../words";
import { columnsOf, entriesOf } from "../shared/columns";
import { note } from "../shared/note";
import { table } from "../shared/table";

/** `between` has the changes of each layer that came after `before`. */
export function betweenLayers(before: Columns, between: Columns[]): Columns {
  const had = new Set<string>();
  for (const { path, change } of entriesOf(before)) if (change !== "D") had.add(path);
  const last = new Map<string, FileEntry>();
  for (const layer of between) for (const entry of entriesOf(layer)) if (entry.change) last.set(entry.path, entry);
  const all: FileEntry[] = [];
  for (const [path, entry] of last) {
    const gone = entry.change === "D";
    if (gone && !had.has(path)) continue; // it came and went in between
    all.push({ ...entry, change: gone ? "D" : had.has(path) ? "M" : "A" });
  }
  return columnsOf(all);
}

interface Difference {
  /** Change, path, bytes now (or as it was, of a removed one), bytes before, type. */
  files: [string, string, number, number | null, string][];
  config: { key: string; before: string | null; after: string | null }[];
  shared_layers: number;
  layers_after: number;
  size_before: number;
  size_after: number;
  total: number;
}

/** What makes the image of `token` of the store's image `other`: the files, and the rest in words. */
export async function betweenImages(kernel: Kernel, other: string, token: string): Promise<[Columns, Child]> {
  const { result } = await kernel.ask("compare", { a: other, b: token });
  const found = result as Difference;
  const { files } = found;
  const columns = columnsOf(files.map(([change, path, size, , type]) => ({ path, type, mode: -1, size, change })));
  const grown = found.size_after - found.size_before;
  const facts = [
    `${plural(found.total, "entry")} differ${files.length < found.total ? `, the first ${files.length} are shown` : ""}`,
    `${found.shared_layers} of ${plural(found.layers_after, "layer")} shared`,
    grown ? `${humanBytes(Math.abs(grown))} ${grown > 0 ? "more" : "less"}` : "same size",
  ];
  const rows = found.config.map((one) => [h("code", null, one.key), code(one.before), code(one.after)]);
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

/** The names of the images in the store. */
export async function storedImages(kernel: Kernel): Promise<string[]> {
  const { result } = await kernel.ask("images", {});
  return (result as { images: { name: string }[] }).images.map((image) => image.name);
}
