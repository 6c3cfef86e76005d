// A tree of entries in columns, made for 100,000 of them: nodes are numbers, and children are sorted on first use.

import type { Columns } from "../../model";
import { inFolder, runsOf } from "./columns";

export const DIR = "5";
export const SYMLINK = "2";

export interface Filter {
  /** The text that a path must contain, in any case; "" for all paths. */
  text: string;
  /** The changes to show, of "AMD"; "" for all. */
  changes: string;
}

export class FileTree {
  /** The number of nodes: entries, folders and the root. */
  readonly count: number;
  /** By node: its folder. The first nodes are folders, each after the one that contains it; the root is node 0. */
  readonly parents: Int32Array;
  /** By folder: the bytes of everything below it. */
  private readonly sizes: Float64Array;
  private readonly paths: string[] = [""];
  /** By folder: the folders in it, and its entries as runs `begin, end`. */
  private readonly inside: { folders: number[]; runs: number[] }[] = [{ folders: [], runs: [] }];
  /** By folder: the index of its own entry, where the list has one. */
  private readonly listed = new Map<number, number>();
  private readonly folders = new Map<string, number>([["", 0]]);
  private readonly sorted = new Map<number, Int32Array>();
  /** All paths in lower case, joined into one text for the search, and where the path of each node begins. */
  private searched: { text: string; starts: Int32Array } | null = null;

  constructor(readonly columns: Columns) {
    const { name, type, change, size } = columns;
    const parents = [0];
    const places = columns.folders.map((path) => this.folder(path, parents));
    let entry = type.indexOf(DIR);
    let listed = 0;
    for (const [place, , end] of runsOf(columns)) {
      for (; entry >= 0 && entry < end; entry = type.indexOf(DIR, entry + 1)) {
        const path = inFolder(columns.folders[place] as string, name[entry] as string);
        this.listed.set(this.folder(path, parents), entry);
        listed += 1;
      }
    }
    const first = this.paths.length; // the node of the first entry
    this.count = first + name.length - listed;
    this.parents = new Int32Array(first + name.length);
    this.parents.set(parents);
    this.parents[0] = -1;
    this.sizes = new Float64Array(first);
    for (const [place, begin, end] of runsOf(columns)) {
      const folder = places[place] as number;
      this.parents.fill(folder, first + begin, first + end);
      this.inside[folder]?.runs.push(begin, end);
      let sum = 0;
      for (let index = begin; index < end; index += 1) if (change[index] !== "D") sum += size[index] as number;
      this.sizes[folder] = (this.sizes[folder] as number) + sum;
    }
    for (let node = first - 1; node > 0; node -= 1) {
      const folder = parents[node] as number;
      this.inside[folder]?.folders.push(node);
      this.sizes[folder] = (this.sizes[folder] as number) + (this.sizes[node] as number);
    }
  }

  private folder(path: string, parents: number[]): number {
    const missing: string[] = [];
    let node = this.folders.get(path);
    for (let outer = path; node === undefined; node = this.folders.get(outer)) {
      missing.push(outer);
      outer = outer.slice(0, Math.max(0, outer.lastIndexOf("/")));
    }
    for (const folder of missing.reverse()) {
      parents.push(node);
      node = this.paths.length;
      this.paths.push(folder);
      this.inside.push({ folders: [], runs: [] });
      this.folders.set(folder, node);
    }
    return node;
  }

  isDir(node: number): boolean {
    return node < this.paths.length;
  }

  /** Return the index of a node in the columns; -1 for a folder that has no entry. */
  entry(node: number): number {
    return this.isDir(node) ? (this.listed.get(node) ?? -1) : node - this.paths.length;
  }

  /** Return the bytes of a node and of everything below it that was not removed. */
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

  /** Return the children of a node: directories before files, each sorted by name; of duplicates in a tar, the last. */
  childrenOf(node: number): Int32Array {
    const known = this.sorted.get(node);
    if (known) return known;
    const { folders, runs } = this.inside[node] ?? { folders: [], runs: [] };
    const nodes = folders.slice();
    for (let run = 0; run < runs.length; run += 2)
      for (let entry = runs[run] as number; entry < (runs[run + 1] as number); entry += 1)
        if (this.columns.type[entry] !== DIR) nodes.push(this.paths.length + entry);
    let children = Int32Array.from(nodes);
    const compare = (a: number, b: number): number => {
      const first = this.isDir(a);
      if (first !== this.isDir(b)) return first ? -1 : 1;
      const [nameOfA, nameOfB] = [this.name(a), this.name(b)];
      return nameOfA < nameOfB ? -1 : nameOfA > nameOfB ? 1 : 0;
    };
    if (!children.every((child, index) => index === 0 || compare(children[index - 1] as number, child) < 0)) {
      const ordered = children.slice().sort(compare);
      children = ordered.filter((child, index) => index + 1 === ordered.length || compare(child, ordered[index + 1] as number) !== 0);
    }
    this.sorted.set(node, children);
    return children;
  }

  depth(node: number): number {
    let depth = 0;
    for (let ancestor = this.parents[node] ?? -1; ancestor > 0; ancestor = this.parents[ancestor] ?? 0) depth += 1;
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
    const original = paths.join("\0");
    let text = original.toLowerCase();
    // In lower case a few letters take more characters, which moves the following text.
    if (text.length !== original.length) {
      paths = paths.map((path) => path.toLowerCase());
      text = paths.join("\0");
    }
    const starts = new Int32Array(paths.length + 1);
    for (let node = 0; node < paths.length; node += 1)
      starts[node + 1] = (starts[node] as number) + (paths[node] as string).length + 1;
    return (this.searched = { text, starts });
  }

  /** Return, by node, 1 if the filter matches it or a node below it; and the number of matching entries. */
  matching(filter: Filter): { visible: Uint8Array; count: number } {
    const nodes = this.parents.length;
    const visible = new Uint8Array(nodes);
    let count = 0;
    const take = (node: number): void => {
      if (node === 0) return;
      if (filter.changes && !(this.change(node) && filter.changes.includes(this.change(node)))) return;
      count += 1;
      for (let ancestor = node; ancestor > 0 && !visible[ancestor]; ancestor = this.parents[ancestor] ?? 0) visible[ancestor] = 1;
    };
    if (!filter.text) {
      for (let node = 1; node < nodes; node += 1)
        if (this.isDir(node) || this.columns.type[this.entry(node)] !== DIR) take(node);
      return { visible, count };
    }
    const { text, starts } = this.search();
    const query = filter.text.toLowerCase().replaceAll("\0", "\ufffd");
    let node = 0;
    for (let position = text.indexOf(query); position >= 0; position = text.indexOf(query, starts[node])) {
      while ((starts[node + 1] as number) <= position) node += 1;
      take(node);
      node += 1;
      if (node === nodes) break;
    }
    return { visible, count };
  }

  /** Return the nodes to show, in order: of each directory that `isOpen`, its children. */
  rows(isOpen: (node: number) => boolean, visible: Uint8Array | null): Int32Array<ArrayBuffer> {
    const rows = new Int32Array(this.count);
    const outerLevels: { nodes: Int32Array; index: number }[] = [];
    let [nodes, index, length] = [this.childrenOf(0), 0, 0];
    for (;;) {
      const node = nodes[index];
      index += 1;
      if (node === undefined) {
        const outer = outerLevels.pop();
        if (!outer) return rows.subarray(0, length);
        ({ nodes, index } = outer);
      } else if (!visible || visible[node]) {
        rows[length] = node;
        length += 1;
        if (!this.isDir(node) || !isOpen(node)) continue;
        outerLevels.push({ nodes, index });
        [nodes, index] = [this.childrenOf(node), 0];
      }
    }
  }
}
