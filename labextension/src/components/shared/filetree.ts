// Paths in columns as a tree, made for 100,000 entries: numbers for nodes, children sorted when they are first seen.

import type { Columns, FileEntry } from "../../model";

export const DIR = "5";
export const SYMLINK = "2";

export function columnsOf(files: FileEntry[]): Columns {
  return {
    path: files.map((file) => file.path),
    type: files.map((file) => file.type),
    mode: files.map((file) => file.mode),
    size: files.map((file) => file.size ?? 0),
    uid: files.map((file) => file.uid ?? 0),
    gid: files.map((file) => file.gid ?? 0),
    link: files.map((file) => file.link ?? ""),
    change: files.map(() => ""),
  };
}

export interface Filter {
  /** What a path has to contain, in any case; "" for all. */
  text: string;
  /** The changes that are shown, of "AMD"; "" for all. */
  changes: string;
}

export class FileTree {
  /** By node: its name, its parent (the root is 0), its place in `columns` (-1 when the list did not have it). */
  readonly names: string[] = [""];
  readonly parents: number[] = [-1];
  readonly entries: number[] = [-1];
  /** By node: bytes of it and of all below. */
  readonly sizes: number[] = [0];
  private readonly children: (number[] | undefined)[] = [[]];
  private readonly sorted = new Set<number>();
  private readonly lower: string[] = [""];

  constructor(readonly columns: Columns) {
    const known = new Map<string, number>([["", 0]]);
    columns.path.forEach((path, entry) => {
      const node = this.grow(known, path);
      this.entries[node] = entry;
      if (columns.type[entry] === DIR) this.children[node] ??= [];
      const size = columns.change[entry] === "D" ? 0 : (columns.size[entry] ?? 0);
      if (size) for (let at = node; at >= 0; at = this.parents[at] ?? -1) this.sizes[at] = (this.sizes[at] ?? 0) + size;
    });
  }

  private grow(known: Map<string, number>, path: string): number {
    const found = known.get(path);
    if (found !== undefined) return found;
    const cut = path.lastIndexOf("/");
    const parent = cut < 0 ? 0 : this.grow(known, path.slice(0, cut));
    const node = this.names.length;
    known.set(path, node);
    this.names.push(path.slice(cut + 1));
    this.parents.push(parent);
    this.entries.push(-1);
    this.sizes.push(0);
    this.lower.push(path.toLowerCase());
    this.children.push(undefined);
    (this.children[parent] ??= []).push(node);
    return node;
  }

  isDir(node: number): boolean {
    return this.children[node] !== undefined;
  }

  /** Directories before files, each by name. */
  below(node: number): number[] {
    const children = this.children[node] ?? [];
    if (!this.sorted.has(node)) {
      this.sorted.add(node);
      const { names } = this;
      children.sort((a, b) => {
        const [first, second] = [this.isDir(a), this.isDir(b)];
        if (first !== second) return first ? -1 : 1;
        return (names[a] ?? "") < (names[b] ?? "") ? -1 : 1;
      });
    }
    return children;
  }

  path(node: number): string {
    const parts: string[] = [];
    for (let at = node; at > 0; at = this.parents[at] ?? 0) parts.push(this.names[at] ?? "");
    return parts.reverse().join("/");
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

  /** By node: 1 when the filter lets it through or something below it; and how many entries it lets through. */
  matching(filter: Filter): { shown: Uint8Array; count: number } {
    const shown = new Uint8Array(this.names.length);
    const text = filter.text.toLowerCase();
    let count = 0;
    for (let node = 1; node < shown.length; node += 1) {
      if (text && !this.lower[node]?.includes(text)) continue;
      if (filter.changes && !(this.change(node) && filter.changes.includes(this.change(node)))) continue;
      count += 1;
      for (let at = node; at > 0 && !shown[at]; at = this.parents[at] ?? 0) shown[at] = 1;
    }
    return { shown, count };
  }

  /** The nodes that are seen, in order: of each directory for which `isOpen`, those below it. */
  rows(isOpen: (node: number) => boolean, shown: Uint8Array | null): number[] {
    const rows: number[] = [];
    const stack = [...this.below(0)].reverse();
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (shown && !shown[node]) continue;
      rows.push(node);
      if (!this.isDir(node) || !isOpen(node)) continue;
      const below = this.below(node);
      for (let index = below.length - 1; index >= 0; index -= 1) stack.push(below[index] as number);
    }
    return rows;
  }
}
