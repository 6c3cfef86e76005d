// The trees of a result: from the kernel where one has them, else what the document keeps, of which others are made.

import { columnsIn } from "../../document";
import type { Columns, FileEntry, Kernel, Layer, Summary, Tree } from "../../model";
import { columnsOf, entriesOf, joinPages } from "../shared/columns";
import type { Page } from "../shared/columns";

const PAGE = 25_000; // entries of one answer
const UNPACKED = 64 << 20; // bytes of one tree

/** How the kernel calls a tree: `of` as its `files` method says, in the image for `platform`. */
export interface TreeName {
  of: string;
  platform: string;
}

/** All entries of a tree that the kernel has. */
async function fetchFiles(kernel: Kernel, tree: TreeName): Promise<Columns> {
  const pages: Page[] = [];
  for (let [count, total] = [0, 1]; count < total;) {
    const { result } = await kernel.ask("files", { ...tree, offset: count, limit: PAGE });
    const page = result as { columns: Page; total: number };
    if (!page.columns.type) break;
    pages.push(page.columns);
    count += page.columns.type.length;
    total = page.total;
  }
  return joinPages(pages);
}

/** What a document keeps of a tree. Whoever wrote it, it takes no more room than a large tree does. */
async function unpack(tree: Tree): Promise<Columns> {
  const packed = Uint8Array.from(atob(tree.columns), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (const reader = stream.getReader(); ;) {
    const { value, done } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.byteLength;
    if (size <= UNPACKED) continue;
    await reader.cancel();
    throw new Error("The tree that the notebook keeps is too large.");
  }
  return columnsIn(JSON.parse(await new Blob(parts).text()));
}

/** The tree that layers make together, from what each of them did; entries are marked with what the last one did. */
export function stacked(layers: Columns[]): Columns {
  const all = new Map<string, FileEntry>();
  layers.forEach((layer, index) => {
    const isLast = index === layers.length - 1;
    for (const entry of entriesOf(layer)) {
      if (entry.change !== "D") all.set(entry.path, isLast ? entry : { ...entry, change: "" });
      else if (isLast) all.set(entry.path, entry);
      else all.delete(entry.path);
    }
  });
  return columnsOf([...all.values()]);
}

export class Trees {
  /** Whether the kernel has not told a tree when it was asked. */
  private isSilent = false;
  private readonly found = new Map<string, Promise<Columns>>();

  constructor(
    private readonly summary: Summary,
    private kernel: Kernel | null,
  ) {}

  /** Asks another kernel from now on, or none. */
  turnTo(kernel: Kernel | null): void {
    this.kernel = kernel;
    this.isSilent = false;
    this.found.clear();
  }

  /** What the document keeps under a name. */
  kept({ of, platform }: TreeName): Tree | undefined {
    return this.summary.trees?.find((tree) => tree.of === of && tree.platform === platform);
  }

  private layers(platform: string): Layer[] {
    return this.summary.image?.manifests?.find((one) => one.platform === platform)?.layers ?? [];
  }

  /** The layers of which the tree can be made: `image@N` or `image`; none when one of them is not kept whole. */
  private below({ of, platform }: TreeName): Tree[] {
    const all = this.layers(platform);
    const height = of === "image" ? all.length : of.startsWith("image@") ? Number(of.slice(6)) + 1 : 0;
    const trees = all.slice(0, height).map((layer) => this.kept({ of: `layer:${layer.diff_id}`, platform }));
    return trees.filter((tree): tree is Tree => tree !== undefined && !tree.more && trees.every(Boolean));
  }

  /** Whether a tree can be shown. */
  has(name: TreeName): boolean {
    return Boolean(this.tells(name) || this.kept(name) || this.below(name).length);
  }

  /** Whether the kernel tells it: one that has not made the result has its image alone. */
  private tells({ of }: TreeName): boolean {
    return this.kernel !== null && !this.isSilent && !(this.kernel.filesOnly && of.startsWith("output:"));
  }

  /** How many entries of a tree are counted, but not listed; 0 where the kernel tells all of them. */
  more(name: TreeName): number {
    return this.tells(name) ? 0 : (this.kept(name)?.more ?? 0);
  }

  get(name: TreeName): Promise<Columns> {
    const key = `${name.of} ${name.platform}`;
    const known = this.found.get(key);
    if (known) return known;
    const made = this.make(name);
    this.found.set(key, made);
    made.catch(() => this.found.delete(key));
    return made;
  }

  /** The number, from 1, of the layer that an entry of an image comes from; 0 when it is not known. */
  async origin(platform: string, path: string): Promise<number> {
    if (this.kernel && !this.isSilent) {
      const { result } = await this.kernel.ask("about", { path, platform });
      return (result as { layer: number }).layer;
    }
    const below = this.below({ of: "image", platform });
    for (let at = below.length - 1; at >= 0; at -= 1) {
      const columns = await this.get({ of: below[at]?.of ?? "", platform });
      if (entriesOf(columns).some((entry) => entry.path === path && entry.change !== "D")) return at + 1;
    }
    return 0;
  }

  private async make(name: TreeName): Promise<Columns> {
    if (this.kernel && this.tells(name)) {
      try {
        return await fetchFiles(this.kernel, name);
      } catch (error) {
        if (!this.kept(name) && !this.below(name).length) throw error;
        this.isSilent = true; // what the document keeps is better than none
      }
    }
    const kept = this.kept(name);
    if (kept) return unpack(kept);
    const below = this.below(name);
    if (!below.length) throw new Error("No kernel is running.");
    const whole = stacked(await Promise.all(below.map(({ of, platform }) => this.get({ of, platform: platform ?? "" }))));
    return name.of === "image" ? unmarked(whole) : whole;
  }
}

/** A tree as it is, without what has been removed. */
function unmarked(columns: Columns): Columns {
  const left = entriesOf(columns).filter((entry) => entry.change !== "D");
  return columnsOf(left.map((entry) => ({ ...entry, change: "" })));
}
