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
  const pages: Columns[] = [];
  for (let [count, total] = [0, 1]; count < total;) {
    const { result } = await kernel.ask("files", { ...tree, offset: count, limit: PAGE });
    const page = result as { columns: Columns; total: number };
    if (!page.columns.path.length) break;
    pages.push(page.columns);
    count += page.columns.path.length;
    total = page.total;
  }
  const all = <T>(column: (page: Columns) => T[]): T[] => ([] as T[]).concat(...pages.map(column));
  return {
    path: all((page) => page.path),
    type: all((page) => page.type),
    mode: all((page) => page.mode),
    size: all((page) => page.size),
    uid: all((page) => page.uid),
    gid: all((page) => page.gid),
    link: all((page) => page.link),
    change: all((page) => page.change),
  };
}
