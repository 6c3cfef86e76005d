// A tree of entries in columns, made for 100,000 of them: nodes are numbers, and children are sorted on first use.

import type { Columns } from "../../model";
import { inFolder, nameOf, runsOf, startsOf } from "./columns";

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
  /** By run of entries: the node of its folder. */
  private readonly places: number[];
  /** What a filter looks at: in lower case, the names of the entries, and the path of each folder after a slash. */
  private lower: Pick<Columns, "names" | "starts"> & { folders: string[] } | null = null;

  constructor(readonly columns: Columns) {
    const { type, change, size } = columns;
    const parents = [0];
    this.places = columns.folders.map((path) => this.folder(path, parents));
    let entry = type.indexOf(DIR);
    let listed = 0;
    for (const [place, , end] of runsOf(columns)) {
      for (; entry >= 0 && entry < end; entry = type.indexOf(DIR, entry + 1)) {
        const path = inFolder(columns.folders[place] as string, nameOf(columns, entry));
        this.listed.set(this.folder(path, parents), entry);
        listed += 1;
      }
    }
    const first = this.paths.length; // the node of the first entry
    this.count = first + type.length - listed;
    this.parents = new Int32Array(first + type.length);
    this.parents.set(parents);
    this.parents[0] = -1;
    this.sizes = new Float64Array(first);
    for (const [place, begin, end] of runsOf(columns)) {
      const folder = this.places[place] as number;
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
    if (folder === undefined) return nameOf(this.columns, node - this.paths.length);
    return folder.slice(folder.lastIndexOf("/") + 1);
  }

  /** Return the children of a node: directories before files, each sorted by name; of duplicates in a tar, the last. */
  childrenOf(node: number): Int32Array {
    const known = this.sorted.get(node);
    if (known) return known;
    const { folders, runs } = this.inside[node] ?? { folders: [], runs: [] };
    const files: number[] = [];
    for (let run = 0; run < runs.length; run += 2)
      for (let entry = runs[run] as number; entry < (runs[run + 1] as number); entry += 1)
        if (this.columns.type[entry] !== DIR) files.push(this.paths.length + entry);
    const children = Int32Array.from([...this.inOrder(folders), ...this.inOrder(files)]);
    this.sorted.set(node, children);
    return children;
  }

  /** Return nodes sorted by name, without those that have the name of a later one. Mostly they are sorted already. */
  private inOrder(nodes: number[]): number[] {
    const names = nodes.map((node) => this.name(node));
    if (names.every((name, index) => index === 0 || (names[index - 1] as string) < name)) return nodes;
    const last = new Map(names.map((name, index) => [name, nodes[index] as number]));
    return [...last].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, node]) => node);
  }

  depth(node: number): number {
    let depth = 0;
    for (let ancestor = this.parents[node] ?? -1; ancestor > 0; ancestor = this.parents[ancestor] ?? 0) depth += 1;
    return depth;
  }

  change(node: number): string {
    return this.columns.change[this.entry(node)] ?? "";
  }

  private search(): NonNullable<FileTree["lower"]> {
    if (this.lower) return this.lower;
    const { names: original, starts } = this.columns;
    const names = original.toLowerCase();
    const folders = this.paths.map((path) => (path ? `/${path.toLowerCase()}` : ""));
    // In lower case a few letters take more characters, which moves the following text.
    const isMoved = names.length !== original.length;
    return (this.lower = { names, starts: isMoved ? startsOf(names, starts.length - 1) : starts, folders });
  }

  /** Return, by node, 1 if the filter matches it or a node below it; and the number of matching entries. */
  matching(filter: Filter): { visible: Uint8Array; count: number } {
    const { names, starts, folders } = this.search();
    const query = filter.text.toLowerCase();
    const slash = query.lastIndexOf("/");
    // Names have no slash: a query that has one matches at the border of folder and name, or in the folder.
    const [head, tail] = [query.slice(0, Math.max(0, slash)), query.slice(slash + 1)];
    const named = slash < 0 && query ? namesWith(query, names, starts) : null;
    const visible = new Uint8Array(this.parents.length);
    let count = 0;
    const isWanted = (entry: number): boolean => {
      const change = filter.changes ? this.columns.change[entry] : "";
      return !filter.changes || Boolean(change && filter.changes.includes(change));
    };
    const show = (node: number): void => {
      for (let ancestor = node; ancestor > 0 && !visible[ancestor]; ancestor = this.parents[ancestor] ?? 0) visible[ancestor] = 1;
    };
    const isInside = folders.map((path) => path.includes(query)); // and so do the paths of everything in the folder
    for (let folder = 1; folder < folders.length; folder += 1) {
      if (!isInside[folder] || !isWanted(this.entry(folder))) continue;
      count += 1;
      show(folder);
    }
    const first = folders.length;
    for (const [place, begin, end] of runsOf(this.columns)) {
      const folder = this.places[place] as number;
      const isWhole = isInside[folder] === true;
      const isBeside = slash >= 0 && (folders[folder] as string).endsWith(head);
      if (!isWhole && !isBeside && !named) continue;
      const before = count;
      for (let entry = begin; entry < end; entry += 1) {
        if (!isWhole && !(named ? named[entry] : names.startsWith(tail, starts[entry]))) continue;
        if (this.columns.type[entry] === DIR || !isWanted(entry)) continue;
        visible[first + entry] = 1;
        count += 1;
      }
      if (count > before) show(folder);
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

/** Return, by entry, 1 if its name contains the query. */
function namesWith(query: string, names: string, starts: Int32Array): Uint8Array {
  const count = starts.length - 1;
  const named = new Uint8Array(count);
  let entry = 0;
  for (let at = names.indexOf(query); at >= 0; at = names.indexOf(query, starts[entry])) {
    while (entry < count && (starts[entry + 1] as number) <= at) entry += 1;
    if (entry === count) break;
    named[entry] = 1;
    entry += 1;
  }
  return named;
}
