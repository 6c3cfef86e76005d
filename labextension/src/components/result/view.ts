// What every tab of a result gets: the document, the kernel when one runs, and the way to another tab.

import type { Columns, Kernel, Summary } from "../../model";

export type TabName = "image" | "layers" | "files" | "config" | "graph" | "timeline" | "request" | "downloads";

export interface View {
  summary: Summary;
  kernel: Kernel | null;
  /** Opens a tab, at one thing of it. False when there is no such tab. */
  show: (tab: TabName, target?: string) => boolean;
}

const PAGE = 25_000; // entries of one answer

/** How the kernel calls a tree: `of` as its `files` method says, in the image for `platform`. */
export interface TreeName {
  of: string;
  platform: string;
}

/** All entries of a tree that the kernel keeps. */
export async function fetchFiles(kernel: Kernel, tree: TreeName): Promise<Columns> {
  const all: Columns = { path: [], type: [], mode: [], size: [], uid: [], gid: [], link: [], change: [] };
  for (let total = 1; all.path.length < total;) {
    const { result } = await kernel.ask("files", { ...tree, offset: all.path.length, limit: PAGE });
    const page = result as { columns: Columns; total: number };
    if (!page.columns.path.length) break;
    for (const name of Object.keys(all) as (keyof Columns)[])
      for (const value of page.columns[name]) (all[name] as unknown[]).push(value);
    total = page.total;
  }
  return all;
}
