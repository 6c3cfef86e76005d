// Entries of a tree in columns: folders once and names within them, so that 100,000 are few and short strings.

import type { Columns, FileEntry } from "../../model";

export const inFolder = (folder: string, name: string): string => (folder ? `${folder}/${name}` : name);

export const pathOf = ({ folders, folder, name }: Columns, entry: number): string =>
  inFolder(folders[folder[entry] as number] ?? "", name[entry] ?? "");

export const entryOf = (columns: Columns, entry: number): FileEntry => ({
  path: pathOf(columns, entry),
  type: columns.type[entry] ?? "",
  mode: columns.mode[entry] ?? 0,
  size: columns.size[entry] ?? 0,
  uid: columns.uid[entry] ?? 0,
  gid: columns.gid[entry] ?? 0,
  link: columns.link[entry] ?? "",
  change: columns.change[entry] ?? "",
});

export function columnsOf(files: FileEntry[]): Columns {
  const folders = new Map<string, number>();
  const folder = files.map(({ path }) => {
    const above = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    const place = folders.get(above) ?? folders.size;
    folders.set(above, place);
    return place;
  });
  return {
    folders: [...folders.keys()],
    folder,
    name: files.map(({ path }) => path.slice(path.lastIndexOf("/") + 1)),
    type: files.map((file) => file.type),
    mode: files.map((file) => file.mode),
    size: files.map((file) => file.size ?? 0),
    uid: files.map((file) => file.uid ?? 0),
    gid: files.map((file) => file.gid ?? 0),
    link: files.map((file) => file.link ?? ""),
    change: files.map((file) => file.change ?? ""),
  };
}

/** Columns as the kernel sends them: one value where all entries have the same. */
export type Page = { [Name in keyof Columns]: Columns[Name] | Columns[Name][number] } & Pick<
  Columns,
  "folders" | "folder" | "name"
>;

/** The pages of one tree behind each other. */
export function joined(pages: Page[]): Columns {
  const all = <T>(column: (page: Page) => T | T[]): T[] => {
    const parts = pages.map((page) => {
      const values = column(page);
      return Array.isArray(values) ? (values as T[]) : new Array<T>(page.name.length).fill(values);
    });
    return parts.length === 1 ? (parts[0] as T[]) : ([] as T[]).concat(...parts);
  };
  let before = 0; // folders of the pages before
  return {
    folders: all((page) => page.folders),
    folder: all((page) => {
      const begin = before;
      before += page.folders.length;
      return begin ? page.folder.map((place) => place + begin) : page.folder;
    }),
    name: all((page) => page.name),
    type: all((page) => page.type),
    mode: all((page) => page.mode),
    size: all((page) => page.size),
    uid: all((page) => page.uid),
    gid: all((page) => page.gid),
    link: all((page) => page.link),
    change: all((page) => page.change),
  };
}
