// What differs between an image after one layer and after a later one, from the changes of the layers between.

import type { Columns } from "../../model";

const FIELDS = ["path", "type", "mode", "size", "uid", "gid", "link"] as const;

export function betweenLayers(before: Columns, between: Columns[]): Columns {
  const had = new Set(before.path.filter((_, index) => before.change[index] !== "D"));
  const last = new Map<string, [Columns, number]>();
  for (const layer of between)
    layer.path.forEach((path, index) => layer.change[index] && last.set(path, [layer, index]));
  const all: Columns = { path: [], type: [], mode: [], size: [], uid: [], gid: [], link: [], change: [] };
  for (const [path, [layer, index]] of last) {
    const gone = layer.change[index] === "D";
    if (gone && !had.has(path)) continue; // it came and went in between
    for (const field of FIELDS) (all[field] as unknown[]).push(layer[field][index]);
    all.change.push(gone ? "D" : had.has(path) ? "M" : "A");
  }
  return all;
}
