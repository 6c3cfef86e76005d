// Entries in columns as a tree, made for 100,000 of them: numbers for nodes, children sorted when they are first seen.

import type { Columns } from "../../model";
import { inFolder } from "./columns";

export const DIR = "5";
export const SYMLINK = "2";

export interface Filter {
  /** What a path has to contain, in any case; "" for all. */
  text: string;
  /** The changes that are shown, of "AMD"; "" for all. */
  changes: string;
}

export class FileTree {
  /** Entries and folders; the root is node 0, and no node comes before the folder that it is in. */
  count = 1;
  /** By node: its folder, its place in `columns` (-1 when the list did not have it), bytes of it and all below. */
  parents: Int32Array;
  entries: Int32Array;
  readonly sizes: Float64Array;
  private readonly folders = new Map<string, number>([["", 0]]);
  private readonly folderPaths = new Map<number, string>([[0, ""]]);
  private readonly dirs: Uint8Array;
  /** What is in a folder: `inside` from `starts[folder]` up to `starts[folder + 1]`. */
  private readonly starts: Int32Array;
  private readonly inside: Int32Array;
  private readonly sorted = new Map<number, Int32Array>();
  /** All paths in lower case, in one text that is searched at once, and where each node's begins in it. */
  private searched: { text: string; starts: Int32Array } | null = null;

  constructor(readonly columns: Columns) {
    const { folders, folder, name, type, change, size } = columns;
    this.parents = new Int32Array(name.length + 64).fill(-1);
    this.entries = new Int32Array(name.length + 64).fill(-1);
    const parentOf = folders.map((path) => this.folder(path));
    for (let entry = 0; entry < name.length; entry += 1) {
      const place = folder[entry] as number;
      const node =
        type[entry] === DIR
          ? this.folder(inFolder(folders[place] as string, name[entry] as string))
          : this.add(parentOf[place] as number);
      this.entries[node] = entry;
    }
    const { count, parents, entries } = this;
    const [dirs, sizes] = [new Uint8Array(count), new Float64Array(count)];
    const [starts, inside] = [new Int32Array(count + 2), new Int32Array(count)];
    for (const node of this.folderPaths.keys()) dirs[node] = 1;
    for (let node = count - 1; node > 0; node -= 1) {
      const [above, entry] = [parents[node] as number, entries[node] as number];
      let sum = sizes[node] as number;
      if (entry >= 0 && change[entry] !== "D") sizes[node] = sum += size[entry] ?? 0;
      sizes[above] = (sizes[above] as number) + sum;
      starts[above + 2] = (starts[above + 2] as number) + 1;
    }
    for (let node = 0; node < count; node += 1) starts[node + 2] = (starts[node + 2] as number) + (starts[node + 1] as number);
    for (let node = 1; node < count; node += 1) {
      const above = (parents[node] as number) + 1;
      const at = starts[above] as number;
      inside[at] = node;
      starts[above] = at + 1;
    }
    [this.dirs, this.sizes, this.starts, this.inside] = [dirs, sizes, starts, inside];
  }

  private folder(path: string): number {
    const missing: string[] = [];
    let node = this.folders.get(path);
    for (let above = path; node === undefined; node = this.folders.get(above)) {
      missing.push(above);
      above = above.slice(0, Math.max(0, above.lastIndexOf("/")));
    }
    for (const made of missing.reverse()) {
      node = this.add(node);
      this.folders.set(made, node);
      this.folderPaths.set(node, made);
    }
    return node;
  }

  private add(parent: number): number {
    if (this.count === this.parents.length) {
      const [parents, entries] = [this.parents, this.entries];
      this.parents = new Int32Array(2 * this.count).fill(-1);
      this.entries = new Int32Array(2 * this.count).fill(-1);
      this.parents.set(parents);
      this.entries.set(entries);
    }
    this.parents[this.count] = parent;
    this.count += 1;
    return this.count - 1;
  }

  isDir(node: number): boolean {
    return this.dirs[node] === 1;
  }

  path(node: number): string {
    const folder = this.folderPaths.get(node);
    if (folder !== undefined) return folder;
    return inFolder(this.folderPaths.get(this.parents[node] as number) ?? "", this.name(node));
  }

  name(node: number): string {
    const name = this.columns.name[this.entries[node] as number];
    if (name !== undefined) return name;
    const path = this.folderPaths.get(node) ?? "";
    return path.slice(path.lastIndexOf("/") + 1);
  }

  /** Directories before files, each by name; of those that a tar has twice, the last. */
  below(node: number): Int32Array {
    const known = this.sorted.get(node);
    if (known) return known;
    let children = this.inside.subarray(this.starts[node], this.starts[node + 1]);
    const before = (a: number, b: number): number => {
      const first = this.isDir(a);
      if (first !== this.isDir(b)) return first ? -1 : 1;
      const [one, other] = [this.name(a), this.name(b)];
      return one < other ? -1 : one > other ? 1 : 0;
    };
    if (!children.every((child, at) => at === 0 || before(children[at - 1] as number, child) < 0)) {
      const all = children.slice().sort(before);
      children = all.filter((child, at) => at + 1 === all.length || before(child, all[at + 1] as number) !== 0);
    }
    this.sorted.set(node, children);
    return children;
  }

  depth(node: number): number {
    let depth = 0;
    for (let at = this.parents[node] ?? -1; at > 0; at = this.parents[at] ?? 0) depth += 1;
    return depth;
  }

  change(node: number): string {
    const entry = this.entries[node] ?? -1;
    return entry < 0 ? "" : (this.columns.change[entry] ?? "");
  }

  private search(): { text: string; starts: Int32Array } {
    if (this.searched) return this.searched;
    let paths: string[] = [];
    for (let node = 0; node < this.count; node += 1) paths.push(this.path(node));
    const all = paths.join("\0");
    let text = all.toLowerCase();
    // A few letters become longer in lower case, and what follows them moves.
    if (text.length !== all.length) {
      paths = paths.map((path) => path.toLowerCase());
      text = paths.join("\0");
    }
    const starts = new Int32Array(this.count + 1);
    for (let node = 0; node < this.count; node += 1)
      starts[node + 1] = (starts[node] as number) + (paths[node] as string).length + 1;
    return (this.searched = { text, starts });
  }

  /** By node: 1 when the filter lets it through or something below it; and how many entries it lets through. */
  matching(filter: Filter): { shown: Uint8Array; count: number } {
    const shown = new Uint8Array(this.count);
    let count = 0;
    const take = (node: number): void => {
      if (node === 0) return;
      if (filter.changes && !(this.change(node) && filter.changes.includes(this.change(node)))) return;
      count += 1;
      for (let at = node; at > 0 && !shown[at]; at = this.parents[at] ?? 0) shown[at] = 1;
    };
    if (!filter.text) {
      for (let node = 1; node < this.count; node += 1) take(node);
      return { shown, count };
    }
    const { text, starts } = this.search();
    const wanted = filter.text.toLowerCase().replaceAll("\0", "\ufffd");
    let node = 0;
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, starts[node])) {
      while ((starts[node + 1] as number) <= at) node += 1;
      take(node);
      node += 1;
      if (node === this.count) break;
    }
    return { shown, count };
  }

  /** The nodes that are seen, in order: of each directory for which `isOpen`, those below it. */
  rows(isOpen: (node: number) => boolean, shown: Uint8Array | null): Int32Array<ArrayBuffer> {
    const rows = new Int32Array(this.count);
    const above: { nodes: Int32Array; at: number }[] = [];
    let [nodes, at, length] = [this.below(0), 0, 0];
    for (;;) {
      const node = nodes[at];
      at += 1;
      if (node === undefined) {
        const outer = above.pop();
        if (!outer) return rows.subarray(0, length);
        ({ nodes, at } = outer);
      } else if (!shown || shown[node]) {
        rows[length] = node;
        length += 1;
        if (!this.dirs[node] || !isOpen(node)) continue;
        above.push({ nodes, at });
        [nodes, at] = [this.below(node), 0];
      }
    }
  }
}
