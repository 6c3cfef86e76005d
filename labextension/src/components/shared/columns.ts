// The entries of a tree in columns: each folder once, and the names within it. So 100,000 entries are a few long lists.

import type { Columns, FileEntry } from "../../model";

export const inFolder = (folder: string, name: string): string => (folder ? `${folder}/${name}` : name);

/** Yield, for each run of entries, the index of its folder and the indices of its first entry and of the next run. */
export function* runsOf({ runs, name }: Columns): Generator<[place: number, begin: number, end: number]> {
  for (let [index, begin] = [0, 0]; index + 1 < runs.length; index += 2) {
    const end = Math.min(name.length, begin + (runs[index + 1] as number));
    yield [runs[index] as number, begin, end];
    begin = end;
  }
}

export function entriesOf(columns: Columns): Required<FileEntry>[] {
  const entries: Required<FileEntry>[] = [];
  for (const [place, begin, end] of runsOf(columns)) {
    for (let entry = begin; entry < end; entry += 1)
      entries.push({
        path: inFolder(columns.folders[place] ?? "", columns.name[entry] ?? ""),
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
  return {
    folders: [...folders.keys()],
    runs,
    name: files.map(({ path }) => path.slice(path.lastIndexOf("/") + 1)),
    type: files.map((file) => file.type.charAt(0) || "0").join(""),
    mode: files.map((file) => file.mode),
    size: files.map((file) => file.size ?? 0),
    uid: files.map((file) => file.uid ?? 0),
    gid: files.map((file) => file.gid ?? 0),
    link: files.map((file) => file.link ?? ""),
    change: files.map((file) => file.change ?? ""),
  };
}

/** Columns as the kernel sends them: names in one text, and a single value where it is the same for all entries. */
export type Page = Pick<Columns, "folders" | "runs" | "type"> & { names: string } & {
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
  let before = 0; // how many folders the earlier pages have
  return {
    folders: all((page) => page.folders),
    runs: all((page) => {
      const begin = before;
      before += page.folders.length;
      return page.runs.map((value, index) => (index % 2 ? value : value + begin));
    }),
    name: all((page) => page.names.split("/")),
    type: pages.map((page) => page.type).join(""),
    mode: all((page) => page.mode),
    size: all((page) => page.size),
    uid: all((page) => page.uid),
    gid: all((page) => page.gid),
    link: all((page) => page.link),
    change: all((page) => page.change),
  };
}
