// The entries of a tree in columns: each folder once, and the names within it. So 100,000 entries are a few long lists.

import type { Columns, FileEntry } from "../../model";

export const inFolder = (folder: string, name: string): string => (folder ? `${folder}/${name}` : name);

/** Return where each of `count` names begins in a text of them, joined by "/"; those that it lacks are empty. */
export function startsOf(names: string, count: number): Int32Array<ArrayBuffer> {
  const starts = new Int32Array(count + 1);
  let begin = 0;
  for (let entry = 1; entry <= count; entry += 1) {
    const slash = begin > names.length ? -1 : names.indexOf("/", begin);
    begin = (slash < 0 ? names.length : slash) + 1;
    starts[entry] = begin;
  }
  return starts;
}

export const nameOf = ({ names, starts }: Columns, entry: number): string =>
  names.slice(starts[entry], (starts[entry + 1] ?? 0) - 1);

/** Yield, for each run of entries, the index of its folder and the indices of its first entry and of the next run. */
export function* runsOf({ runs, type }: Columns): Generator<[place: number, begin: number, end: number]> {
  for (let [index, begin] = [0, 0]; index + 1 < runs.length; index += 2) {
    const end = Math.min(type.length, begin + (runs[index + 1] as number));
    yield [runs[index] as number, begin, end];
    begin = end;
  }
}

export function entriesOf(columns: Columns): Required<FileEntry>[] {
  const entries: Required<FileEntry>[] = [];
  for (const [place, begin, end] of runsOf(columns)) {
    for (let entry = begin; entry < end; entry += 1)
      entries.push({
        path: inFolder(columns.folders[place] ?? "", nameOf(columns, entry)),
        type: columns.type.charAt(entry),
        mode: columns.mode[entry] ?? 0,
        size: columns.size[entry] ?? 0,
        uid: columns.uid[entry] ?? 0,
        gid: columns.gid[entry] ?? 0,
        link: columns.link[entry] ?? "",
        change: columns.change[entry] ?? "",
      });
  }
  return entries;
}

export function columnsOf(files: FileEntry[]): Columns {
  const [folders, runs] = [new Map<string, number>(), new Array<number>()];
  for (const { path } of files) {
    const above = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    const place = folders.get(above) ?? folders.size;
    folders.set(above, place);
    if (runs.at(-2) === place) runs.push((runs.pop() as number) + 1);
    else runs.push(place, 1);
  }
  const names = files.map(({ path }) => path.slice(path.lastIndexOf("/") + 1)).join("/");
  return {
    folders: [...folders.keys()],
    runs,
    names,
    starts: startsOf(names, files.length),
    type: files.map((file) => file.type.charAt(0) || "0").join(""),
    mode: files.map((file) => file.mode),
    size: files.map((file) => file.size ?? 0),
    uid: files.map((file) => file.uid ?? 0),
    gid: files.map((file) => file.gid ?? 0),
    link: files.map((file) => file.link ?? ""),
    change: files.map((file) => file.change ?? ""),
  };
}

/** Columns as the kernel sends them: a single value where it is the same for all entries. */
export type Page = Pick<Columns, "folders" | "runs" | "names" | "type"> & {
  [Name in "mode" | "size" | "uid" | "gid" | "link" | "change"]: Columns[Name] | Columns[Name][number];
};

/** Join the pages of one tree. */
export function joinPages(pages: Page[]): Columns {
  const all = <T>(column: (page: Page) => T | T[]): T[] => {
    const parts = pages.map((page) => {
      const values = column(page);
      return Array.isArray(values) ? (values as T[]) : new Array<T>(page.type.length).fill(values);
    });
    return parts.length === 1 ? (parts[0] as T[]) : ([] as T[]).concat(...parts);
  };
  const names = pages.map((page) => page.names).join("/");
  const type = pages.map((page) => page.type).join("");
  let before = 0; // how many folders the earlier pages have
  return {
    folders: all((page) => page.folders),
    runs: all((page) => {
      const begin = before;
      before += page.folders.length;
      return page.runs.map((value, index) => (index % 2 ? value : value + begin));
    }),
    names,
    starts: startsOf(names, type.length),
    type,
    mode: all((page) => page.mode),
    size: all((page) => page.size),
    uid: all((page) => page.uid),
    gid: all((page) => page.gid),
    link: all((page) => page.link),
    change: all((page) => page.change),
  };
}
