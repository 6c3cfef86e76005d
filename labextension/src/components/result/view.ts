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

/** Columns as the kernel sends them: one value where all entries have the same. */
type Page = { [Name in keyof Columns]: Columns[Name] | Columns[Name][number] } & { path: string[] };

/** All entries of a tree that the kernel keeps. */
export async function fetchFiles(kernel: Kernel, tree: TreeName): Promise<Columns> {
  const pages: Page[] = [];
  for (let [count, total] = [0, 1]; count < total;) {
    const { result } = await kernel.ask("files", { ...tree, offset: count, limit: PAGE });
    const page = result as { columns: Page; total: number };
    if (!page.columns.path.length) break;
    pages.push(page.columns);
    count += page.columns.path.length;
    total = page.total;
  }
  const all = <T>(column: (page: Page) => T | T[]): T[] => {
    const parts = pages.map((page) => {
      const values = column(page);
      return Array.isArray(values) ? (values as T[]) : new Array<T>(page.path.length).fill(values);
    });
    return ([] as T[]).concat(...parts);
  };
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
