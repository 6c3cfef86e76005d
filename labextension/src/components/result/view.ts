// What every tab of a result gets: the document, the kernel when one runs, and the way to another tab.

import type { Columns, Kernel, Summary } from "../../model";
import { joined } from "../shared/columns";
import type { Page } from "../shared/columns";

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
  const pages: Page[] = [];
  for (let [count, total] = [0, 1]; count < total;) {
    const { result } = await kernel.ask("files", { ...tree, offset: count, limit: PAGE });
    const page = result as { columns: Page; total: number };
    if (!page.columns.type) break;
    pages.push(page.columns);
    count += page.columns.type.length;
    total = page.total;
  }
  return joined(pages);
}
