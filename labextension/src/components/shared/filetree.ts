// Entries in columns as a tree, made for 100,000 of them: numbers for nodes, children sorted when they are first seen.

import type { Columns } from "../../model";
import { inFolder, runsOf } from "./columns";

export const DIR = "5";
export const SYMLINK = "2";

export interface Filter {
  /** What a path has to contain, in any case; "" for all. */
  text: string;
  /** The changes that are shown, of "AMD"; "" for all. */
  changes: string;
}

export class FileTree {
  /** Entries and folders, and the root. */
  readonly count: number;
  /** By node: its folder. Folders are the first nodes, each behind the one that it is in; the root is node 0. */
  readonly parents: Int32Array;
  /** By folder: bytes of all below. */
  private readonly sizes: Float64Array;
  private readonly paths: string[] = [""];
  /** By folder: those in it, and its entries as `begin, end` of those that follow each other. */
  private readonly inside: { folders: number[]; runs: number[] }[] = [{ folders: [], runs: [] }];
  /** What the list has of a folder. */
  private readonly listed = new Map<number, number>();
  private readonly folders = new Map<string, number>([["", 0]]);
  private readonly sorted = new Map<number, Int32Array>();
  /** All paths in lower case, in one text that is searched at once, and where each node's begins in it. */
  private searched: { text: string; starts: Int32Array } | null = null;

  constructor(readonly columns: Columns) {
    const { name, type, change, size } = columns;
    const above = [0];
    const places = columns.folders.map((path) => this.folder(path, above));
    let entry = type.indexOf(DIR);
    let listed = 0;
    for (const [place, , end] of runsOf(columns)) {
      for (; entry >= 0 && entry < end; entry = type.indexOf(DIR, entry + 1)) {
        const path = inFolder(columns.folders[place] as string, name[entry] as string);
        this.listed.set(this.folder(path, above), entry);
        listed += 1;
      }
    }
    const first = this.paths.length; // node of the first entry
    this.count = first + name.length - listed;
    this.parents = new Int32Array(first + name.length);
    this.parents.set(above);
    this.parents[0] = -1;
    this.sizes = new Float64Array(first);
    for (const [place, begin, end] of runsOf(columns)) {
      const folder = places[place] as number;
      this.parents.fill(folder, first + begin, first + end);
      this.inside[folder]?.runs.push(begin, end);
      let sum = 0;
      for (let at = begin; at < end; at += 1) if (change[at] !== "D") sum += size[at] as number;
      this.sizes[folder] = (this.sizes[folder] as number) + sum;
    }
    for (let node = first - 1; node > 0; node -= 1) {
      const folder = above[node] as number;
      this.inside[folder]?.folders.push(node);
      this.sizes[folder] = (this.sizes[folder] as number) + (this.sizes[node] as number);
    }
  }

  private folder(path: string, above: number[]): number {
    const missing: string[] = [];
    let node = this.folders.get(path);
    for (let outer = path; node === undefined; node = this.folders.get(outer)) {
      missing.push(outer);
      outer = outer.slice(0, Math.max(0, outer.lastIndexOf("/")));
    }
    for (const made of missing.reverse()) {
      above.push(node);
      node = this.paths.length;
      this.paths.push(made);
      this.inside.push({ folders: [], runs: [] });
      this.folders.set(made, node);
    }
    return node;
  }

  isDir(node: number): boolean {
    return node < this.paths.length;
  }

  /** Its place in the columns; -1 of a folder that the list has not. */
  entry(node: number): number {
    return this.isDir(node) ? (this.listed.get(node) ?? -1) : node - this.paths.length;
  }

  /** Bytes of it and of all below that is not removed. */
  size(node: number): number {
    if (this.isDir(node)) return this.sizes[node] ?? 0;
    return this.change(node) === "D" ? 0 : (this.columns.size[this.entry(node)] ?? 0);
  }

  path(node: number): string {
    return this.paths[node] ?? inFolder(this.paths[this.parents[node] as number] ?? "", this.name(node));
  }

  name(node: number): string {
    const folder = this.paths[node];
    if (folder === undefined) return this.columns.name[this.entry(node)] ?? "";
    return folder.slice(folder.lastIndexOf("/") + 1);
  }

  /** Directories before files, each by name; of those that a tar has twice, the last. */
  below(node: number): Int32Array {
    const known = this.sorted.get(node);
    if (known) return known;
    const { folders, runs } = this.inside[node] ?? { folders: [], runs: [] };
    const found = folders.slice();
    for (let run = 0; run < runs.length; run += 2)
      for (let entry = runs[run] as number; entry < (runs[run + 1] as number); entry += 1)
        if (this.columns.type[entry] !== DIR) found.push(this.paths.length + entry);
    let children = Int32Array.from(found);
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
    return this.columns.change[this.entry(node)] ?? "";
  }

  private search(): { text: string; starts: Int32Array } {
    if (this.searched) return this.searched;
    let paths = this.paths.slice();
    for (const [place, begin, end] of runsOf(this.columns)) {
      const folder = this.columns.folders[place] as string;
      for (let entry = begin; entry < end; entry += 1)
        paths.push(this.columns.type[entry] === DIR ? "" : inFolder(folder, this.columns.name[entry] as string));
    }
    const all = paths.join("\0");
    let text = all.toLowerCase();
    // A few letters become longer in lower case, and what follows them moves.
    if (text.length !== all.length) {
      paths = paths.map((path) => path.toLowerCase());
      text = paths.join("\0");
    }
    const starts = new Int32Array(paths.length + 1);
    for (let node = 0; node < paths.length; node += 1)
      starts[node + 1] = (starts[node] as number) + (paths[node] as string).length + 1;
    return (this.searched = { text, starts });
  }

  /** By node: 1 when the filter lets it through or something below it; and how many entries it lets through. */
  matching(filter: Filter): { shown: Uint8Array; count: number } {
    const nodes = this.parents.length;
    const shown = new Uint8Array(nodes);
    let count = 0;
    const take = (node: number): void => {
      if (node === 0) return;
      if (filter.changes && !(this.change(node) && filter.changes.includes(this.change(node)))) return;
      count += 1;
      for (let at = node; at > 0 && !shown[at]; at = this.parents[at] ?? 0) shown[at] = 1;
    };
    if (!filter.text) {
      for (let node = 1; node < nodes; node += 1)
        if (this.isDir(node) || this.columns.type[this.entry(node)] !== DIR) take(node);
      return { shown, count };
    }
    const { text, starts } = this.search();
    const wanted = filter.text.toLowerCase().replaceAll("\0", "\ufffd");
    let node = 0;
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, starts[node])) {
      while ((starts[node + 1] as number) <= at) node += 1;
      take(node);
      node += 1;
      if (node === nodes) break;
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
        if (!this.isDir(node) || !isOpen(node)) continue;
        above.push({ nodes, at });
        [nodes, at] = [this.below(node), 0];
      }
    }
  }
}
