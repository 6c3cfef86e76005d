// The trees of a result: from a kernel that has them, or else from the document, with those that follow from others.

import { columnsIn } from "../../document";
import type { Columns, FileEntry, Kernel, Layer, Summary, Tree } from "../../model";
import { columnsOf, entriesOf, joinPages } from "../shared/columns";
import type { Page } from "../shared/columns";

const PAGE = 25_000; // entries in one answer
const UNPACKED = 64 << 20; // bytes of one tree

/** The kernel's name of a tree: `of` as in its method `files`, in the image for `platform`. */
export interface TreeName {
  of: string;
  platform: string;
}

/** Ask the kernel for all entries of a tree. */
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

/** Unpack a tree from a document, within the bytes that a large tree takes, whoever wrote it. */
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

/** Return the tree of stacked layers, from the changes of each; entries are marked with the change of the last one. */
export function stacked(layers: Columns[]): Columns {
  const entries = new Map<string, FileEntry>();
  layers.forEach((layer, index) => {
    const isLast = index === layers.length - 1;
    for (const entry of entriesOf(layer)) {
      if (entry.change !== "D") entries.set(entry.path, isLast ? entry : { ...entry, change: "" });
      else if (isLast) entries.set(entry.path, entry);
      else entries.delete(entry.path);
    }
  });
  return columnsOf([...entries.values()]);
}

export class Trees {
  /** Whether the kernel failed to supply a tree. */
  private isSilent = false;
  private readonly loaded = new Map<string, Promise<Columns>>();

  constructor(
    private readonly summary: Summary,
    private kernel: Kernel | null,
  ) {}

  /** Use another kernel from now on, or none. */
  turnTo(kernel: Kernel | null): void {
    this.kernel = kernel;
    this.isSilent = false;
    this.loaded.clear();
  }

  /** Return the tree that the document has under a name. */
  keptTree({ of, platform }: TreeName): Tree | undefined {
    return this.summary.trees?.find((tree) => tree.of === of && tree.platform === platform);
  }

  private layers(platform: string): Layer[] {
    return this.summary.image?.manifests?.find((manifest) => manifest.platform === platform)?.layers ?? [];
  }

  /** Return the layers that make up `image@N` or `image`; none if one of them is incomplete. */
  private layersBelow({ of, platform }: TreeName): Tree[] {
    const layers = this.layers(platform);
    const height = of === "image" ? layers.length : of.startsWith("image@") ? Number(of.slice(6)) + 1 : 0;
    const trees = layers.slice(0, height).map((layer) => this.keptTree({ of: `layer:${layer.diff_id}`, platform }));
    return trees.filter((tree): tree is Tree => tree !== undefined && !tree.more && trees.every(Boolean));
  }

  /** Return whether a tree can be shown. */
  has(name: TreeName): boolean {
    return Boolean(this.tells(name) || this.keptTree(name) || this.layersBelow(name).length);
  }

  /** Return whether the kernel has it: a kernel that did not make the result has only its image. */
  private tells({ of }: TreeName): boolean {
    return this.kernel !== null && !this.isSilent && !(this.kernel.filesOnly && of.startsWith("output:"));
  }

  /** Return how many entries of a tree are counted, but not listed; 0 where the kernel has them all. */
  omittedCount(name: TreeName): number {
    return this.tells(name) ? 0 : (this.keptTree(name)?.more ?? 0);
  }

  get(name: TreeName): Promise<Columns> {
    const key = `${name.of} ${name.platform}`;
    const known = this.loaded.get(key);
    if (known) return known;
    const columns = this.make(name);
    this.loaded.set(key, columns);
    columns.catch(() => this.loaded.delete(key));
    return columns;
  }

  /** Return the number, from 1, of the layer that an entry of an image comes from; 0 when unknown. */
  async origin(platform: string, path: string): Promise<number> {
    if (this.kernel && !this.isSilent) {
      const { result } = await this.kernel.ask("about", { path, platform });
      return (result as { layer: number }).layer;
    }
    const layers = this.layersBelow({ of: "image", platform });
    for (let index = layers.length - 1; index >= 0; index -= 1) {
      const columns = await this.get({ of: layers[index]?.of ?? "", platform });
      if (entriesOf(columns).some((entry) => entry.path === path && entry.change !== "D")) return index + 1;
    }
    return 0;
  }

  private async make(name: TreeName): Promise<Columns> {
    if (this.kernel && this.tells(name)) {
      try {
        return await fetchFiles(this.kernel, name);
      } catch (error) {
        if (!this.keptTree(name) && !this.layersBelow(name).length) throw error;
        this.isSilent = true; // the tree of the document is better than none
      }
    }
    const keptTree = this.keptTree(name);
    if (keptTree) return unpack(keptTree);
    const layers = this.layersBelow(name);
    if (!layers.length) throw new Error("No kernel is running.");
    const stack = stacked(await Promise.all(layers.map(({ of, platform }) => this.get({ of, platform: platform ?? "" }))));
    return name.of === "image" ? unmarked(stack) : stack;
  }
}

/** Return a tree without removed entries and without marks. */
function unmarked(columns: Columns): Columns {
  const entries = entriesOf(columns).filter((entry) => entry.change !== "D");
  return columnsOf(entries.map((entry) => ({ ...entry, change: "" })));
}
