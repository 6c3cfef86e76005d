// The reader of documents that come from others, such as a notebook sent by mail: after it, a document has the types and
// the size that the components rely on. Wrong values are left out, long ones are cut, and the page says so.

import { startsOf } from "./components/shared/columns";
import type { Attested, Columns, FileEntry, History, Image, Layer, Manifest, Material, Output, Rung, Software, Summary, Tree, Vertex, Warning, Wasted } from "./model";

const LETTERS = 1 << 20; // of all texts; a kernel writes a tenth of that, see pybuild_magic/results/bounds.py
const VALUES = 100_000; // of everything
const LONGEST = 64_000; // letters of one text
const MOST = 5_000; // items of one list
const STEPS = 1_000;
const ENTRIES = 250_000; // of one tree
const PATHS = 32 << 20; // letters of its paths
const PACKED = 1 << 20; // letters of one packed tree
const DEEPEST = 10;

/** How much may still be read, and how much was cut or dropped. */
interface Room {
  letters: number;
  values: number;
  cut: number;
  dropped: number;
}

/** Read a value; undefined for one that is missing, or of another type. */
type Reader<T> = (value: unknown, room: Room) => T | undefined;

/** Return a record's own value: `constructor` and the like are inherited. */
export const own = <T>(record: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

const text: Reader<string> = (value, room) => {
  if (typeof value !== "string") return undefined;
  const limit = Math.min(LONGEST, room.letters);
  room.letters -= Math.min(value.length, limit);
  if (value.length <= limit) return value;
  room.cut += value.length - limit;
  return `${value.slice(0, limit)}…`;
};

const number: Reader<number> = (value) =>
  typeof value === "number" && Number.isFinite(value)
    ? Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value))
    : undefined;

const flag: Reader<boolean> = (value) => (typeof value === "boolean" ? value : undefined);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Return a reader of lists, which leaves out items that `item` cannot read. */
const list =
  <T>(item: Reader<T>, limit = MOST): Reader<T[]> =>
  (value, room) => {
    if (!Array.isArray(value)) return undefined;
    const items: T[] = [];
    for (const element of value.slice(0, limit) as unknown[]) {
      if (room.values <= 0) break;
      room.values -= 1;
      const read = item(element, room);
      if (read !== undefined) items.push(read);
    }
    room.dropped += value.length - items.length;
    return items;
  };

/** Return a reader of records, with a reader for each field; those in `needed` have a value in any case. */
const record =
  <T extends object>(fields: { [K in keyof T]-?: Reader<T[K]> }, needed: Partial<T> = {}): Reader<T> =>
  (value, room) => {
    if (!isRecord(value)) return undefined;
    const result: Partial<T> = { ...needed };
    for (const name of Object.keys(fields) as (keyof T & string)[]) {
      const read = Object.hasOwn(value, name) ? fields[name](value[name], room) : undefined;
      if (read !== undefined) result[name] = read;
    }
    return result as T;
  };

/** Return a reader of records with any keys but `__proto__`, which JSON can have and an object cannot. */
const dictionary =
  <T>(item: Reader<T>): Reader<Record<string, T>> =>
  (value, room) => {
    if (!isRecord(value)) return undefined;
    const keys = Object.keys(value);
    const pairs: [string, T][] = [];
    for (const key of keys.slice(0, MOST)) {
      if (room.values <= 0) break;
      room.values -= 1;
      const [name, read] = [text(key, room), item(value[key], room)];
      if (name !== undefined && name !== "__proto__" && read !== undefined) pairs.push([name, read]);
    }
    room.dropped += keys.length - pairs.length;
    return Object.fromEntries(pairs);
  };

/** Return a reader of any JSON value down to a depth. */
const json =
  (depth: number): Reader<unknown> =>
  (value, room) => {
    if (value === null) return null;
    if (typeof value !== "object") return text(value, room) ?? number(value, room) ?? flag(value, room);
    if (!depth) return "…";
    return Array.isArray(value) ? list(json(depth - 1))(value, room) : dictionary(json(depth - 1))(value, room);
  };

const layer = record<Layer>(
  {
    digest: text,
    media_type: text,
    size: number,
    diff_id: text,
    created_by: text,
    files_added: number,
    files_changed: number,
    files_removed: number,
    uncompressed_size: number,
    vertex: text,
    line: number,
  },
  { digest: "", media_type: "", size: 0, diff_id: "" },
);

const history = record<History>({ created: text, created_by: text, empty_layer: flag, comment: text });

const wasted: Reader<Wasted> = (value, room) => {
  if (!Array.isArray(value)) return undefined;
  const [path, count, bytes] = value as unknown[];
  return [text(path, room) ?? "", number(count, room) ?? 0, number(bytes, room) ?? 0];
};

const manifest = record<Manifest>(
  {
    digest: text,
    media_type: text,
    size: number,
    platform: text,
    config_digest: text,
    config_media_type: text,
    config_size: number,
    config: dictionary(json(DEEPEST)),
    layers: list(layer),
    base: text,
    base_layers: number,
    history: list(history),
    annotations: dictionary(text),
    users: dictionary(text),
    groups: dictionary(text),
    efficiency: number,
    wasted_bytes: number,
    wasted: list(wasted),
    raw: text,
  },
  {
    digest: "",
    media_type: "",
    size: 0,
    platform: "",
    config_digest: "",
    config_media_type: "",
    config_size: 0,
    config: {},
    layers: [],
  },
);

const image = record<Image>(
  {
    names: list(text),
    digest: text,
    media_type: text,
    size: number,
    is_index: flag,
    manifests: list(manifest, 200),
    raw: text,
  },
  { names: [], digest: "", media_type: "", size: 0 },
);

/** Return a reader of lists of so many texts. */
const texts =
  <T extends string[]>(count: number): Reader<T> =>
  (value, room) =>
    Array.isArray(value) ? (Array.from({ length: count }, (_, index) => text(value[index], room) ?? "") as T) : undefined;

const software: Reader<Software[]> = list(texts<Software>(5), 50_000);

const attested = record<Attested>(
  {
    platform: text,
    provenance: text,
    facts: dictionary(text),
    materials: list(texts<Material>(2)),
    material_count: number,
    parameters: dictionary(text),
    llb_steps: number,
    sboms: number,
    scanner: text,
    packages: software,
    package_count: number,
  },
  { platform: "" },
);

const file = record<FileEntry>(
  { path: text, type: text, mode: number, size: number, uid: number, gid: number, link: text, change: text },
  { path: "", type: "0", mode: 0 },
);

/** Read the entries of a tree. They may be many: a page draws only those in sight. */
const entries: Reader<FileEntry[]> = (value, room) => {
  const ownRoom: Room = { letters: PATHS, values: ENTRIES, cut: 0, dropped: 0 };
  const files = list(file, ENTRIES)(value, ownRoom);
  room.cut += ownRoom.cut;
  room.dropped += ownRoom.dropped;
  return files;
};

const output = record<Output>(
  {
    type: text,
    dest: text,
    size: number,
    is_directory: flag,
    names: list(text),
    files: entries,
    file_count: number,
    file_bytes: number,
    more_files: number,
  },
  { type: "" },
);

const vertex = record<Vertex>(
  {
    digest: text,
    name: text,
    inputs: list(text, 200),
    cached: flag,
    started: text,
    completed: text,
    seconds: number,
    error: text,
    log_head: text,
    log_tail: text,
    log_seconds: list(number),
    log_lines: number,
    kind: text,
    stage: text,
    line: number,
  },
  { digest: "", name: "" },
);

const rung = record<Rung>({ number, name: text, lacks: text }, { number: 0, name: "" });

const warning = record<Warning>({ short: text, detail: text, url: text, line: number, context: text, ignorable: list(text, 100) }, { short: "" });

/** Read a packed tree. Its text has a bound of its own, because it is drawn only when its tab is opened. */
const tree = record<Tree>(
  {
    of: text,
    platform: text,
    entries: number,
    more: number,
    columns: (value) => (typeof value === "string" && value.length <= PACKED ? value : undefined),
  },
  { of: "", platform: "", columns: "" },
);

const summary = record<Summary>(
  {
    ref: text,
    builder: text,
    driver: text,
    target: text,
    seconds: number,
    vertexes: list(vertex, STEPS),
    warnings: list(warning),
    rung,
    image,
    attested: list(attested, 50),
    outputs: list(output, 50),
    trees: list(tree, 500),
    request: text,
    command: text,
    error: text,
    hint: text,
    error_line: number,
    error_end: number,
    canceled: flag,
    kept: text,
    dockerfile: text,
    omitted: dictionary(number),
    view: text,
    fetch: text,
  },
  { ref: "", builder: "" },
);

/** Return a document as the components need it. */
export function summaryOf(value: unknown): Summary {
  const room: Room = { letters: LETTERS, values: VALUES, cut: 0, dropped: 0 };
  const content = summary(value, room) ?? { ref: "", builder: "" };
  const omitted = { ...content.omitted };
  if (room.cut) omitted["texts"] = (own(omitted, "texts") ?? 0) + room.cut;
  if (room.dropped) omitted["values"] = (own(omitted, "values") ?? 0) + room.dropped;
  return { ...content, omitted };
}

/** Return the columns of a tree in a document, of equal length; a wrong entry becomes a file of no bytes. */
export function columnsIn(value: unknown): Columns {
  const page = isRecord(value) ? value : {};
  const arrayOf = (field: unknown): unknown[] => (Array.isArray(field) ? (field as unknown[]) : []);
  const type = typeof page["type"] === "string" ? page["type"].slice(0, ENTRIES) : "";
  const names = typeof page["names"] === "string" ? page["names"] : "";
  const column = <T extends string | number>(name: string, fallback: T): T[] => {
    const values = page[name];
    const checked = (cell: unknown): T => (typeof cell === typeof fallback ? (cell as T) : fallback);
    if (!Array.isArray(values)) return new Array<T>(type.length).fill(checked(values));
    return Array.from({ length: type.length }, (_, index) => checked((values as unknown[])[index]));
  };
  const folders = arrayOf(page["folders"]).map((folder) => (typeof folder === "string" ? folder : ""));
  const runs: number[] = [];
  let remaining = type.length;
  for (const [index, run] of arrayOf(page["runs"]).entries()) {
    const count = Number.isInteger(run) ? Math.max(0, run as number) : 0;
    if (index % 2 === 0) runs.push(Math.min(count, Math.max(0, folders.length - 1)));
    else {
      runs.push(Math.min(count, remaining));
      remaining -= Math.min(count, remaining);
    }
  }
  if (!folders.length) folders.push("");
  if (remaining) runs.push(0, remaining);
  return {
    folders,
    runs,
    names,
    starts: startsOf(names, type.length),
    type,
    mode: column("mode", 0),
    size: column("size", 0),
    uid: column("uid", 0),
    gid: column("gid", 0),
    link: column("link", ""),
    change: column("change", ""),
  };
}
