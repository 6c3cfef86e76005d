// A document of others, such as a notebook that was sent by mail, on its way in: whatever it says, it has the types and
// the size that the components take for granted. What is wrong is left out, what is too long is cut, and both are told.

import type { Attested, Columns, FileEntry, History, Image, Layer, Manifest, Material, Output, Rung, Software, Summary, Tree, Vertex, Warning, Wasted } from "./model";

const LETTERS = 1 << 20; // of all texts; what a kernel writes has a tenth of that, see pybuild_magic/results/bounds.py
const VALUES = 100_000; // of everything
const LONGEST = 64_000; // letters of one text
const MOST = 5_000; // items of one list
const STEPS = 1_000;
const ENTRIES = 250_000; // of one tree
const PATHS = 32 << 20; // letters of its paths
const PACKED = 1 << 20; // letters of one packed tree
const DEEPEST = 10;

/** What may still be taken in, and what was not. */
interface Room {
  letters: number;
  values: number;
  cut: number;
  left: number;
}

/** Reads a value; undefined for one that is missing, or of another type. */
type Reader<T> = (value: unknown, room: Room) => T | undefined;

/** A record's own value: `constructor` and the like are no keys of ours. */
export const own = <T>(record: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

const text: Reader<string> = (value, room) => {
  if (typeof value !== "string") return undefined;
  const most = Math.min(LONGEST, room.letters);
  room.letters -= Math.min(value.length, most);
  if (value.length <= most) return value;
  room.cut += value.length - most;
  return `${value.slice(0, most)}…`;
};

const number: Reader<number> = (value) =>
  typeof value === "number" && Number.isFinite(value)
    ? Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value))
    : undefined;

const flag: Reader<boolean> = (value) => (typeof value === "boolean" ? value : undefined);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A list of what can be read of its items. */
const list =
  <T>(item: Reader<T>, most = MOST): Reader<T[]> =>
  (value, room) => {
    if (!Array.isArray(value)) return undefined;
    const found: T[] = [];
    for (const one of value.slice(0, most) as unknown[]) {
      if (room.values <= 0) break;
      room.values -= 1;
      const read = item(one, room);
      if (read !== undefined) found.push(read);
    }
    room.left += value.length - found.length;
    return found;
  };

/** Fields by their readers; those in `needed` have a value whatever the document says. */
const record =
  <T extends object>(fields: { [K in keyof T]-?: Reader<T[K]> }, needed: Partial<T> = {}): Reader<T> =>
  (value, room) => {
    if (!isRecord(value)) return undefined;
    const found: Partial<T> = { ...needed };
    for (const name of Object.keys(fields) as (keyof T & string)[]) {
      const read = Object.hasOwn(value, name) ? fields[name](value[name], room) : undefined;
      if (read !== undefined) found[name] = read;
    }
    return found as T;
  };

/** A record of any keys; JSON's `__proto__` is no key that can be kept. */
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
    room.left += keys.length - pairs.length;
    return Object.fromEntries(pairs);
  };

/** Any JSON value that is not too deep. */
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

/** A list of so many texts. */
const texts =
  <T extends string[]>(count: number): Reader<T> =>
  (value, room) =>
    Array.isArray(value) ? (Array.from({ length: count }, (_, at) => text(value[at], room) ?? "") as T) : undefined;

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

/** The entries of a tree: there may be very many, of which a page draws only those in sight. */
const entries: Reader<FileEntry[]> = (value, room) => {
  const apart: Room = { letters: PATHS, values: ENTRIES, cut: 0, left: 0 };
  const found = list(file, ENTRIES)(value, apart);
  room.cut += apart.cut;
  room.left += apart.left;
  return found;
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

/** A packed tree: its text is apart from all others, for it is drawn only when its tab is opened. */
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

/** The document as the components take it. */
export function summaryOf(value: unknown): Summary {
  const room: Room = { letters: LETTERS, values: VALUES, cut: 0, left: 0 };
  const found = summary(value, room) ?? { ref: "", builder: "" };
  const omitted = { ...found.omitted };
  if (room.cut) omitted["characters"] = (own(omitted, "characters") ?? 0) + room.cut;
  if (room.left) omitted["values"] = (own(omitted, "values") ?? 0) + room.left;
  return { ...found, omitted };
}

/** The columns of a tree that a document keeps, of equal length; an entry that is wrong is as a file of no bytes. */
export function columnsIn(value: unknown): Columns {
  const page = isRecord(value) ? value : {};
  const words = (what: unknown): unknown[] => (Array.isArray(what) ? (what as unknown[]) : []);
  const type = typeof page["type"] === "string" ? page["type"].slice(0, ENTRIES) : "";
  const names = typeof page["names"] === "string" ? page["names"].split("/") : [];
  const column = <T extends string | number>(name: string, none: T): T[] => {
    const found = page[name];
    const is = (one: unknown): T => (typeof one === typeof none ? (one as T) : none);
    if (!Array.isArray(found)) return new Array<T>(type.length).fill(is(found));
    return Array.from({ length: type.length }, (_, at) => is((found as unknown[])[at]));
  };
  const folders = words(page["folders"]).map((one) => (typeof one === "string" ? one : ""));
  const runs: number[] = [];
  let left = type.length;
  for (const [at, one] of words(page["runs"]).entries()) {
    const count = Number.isInteger(one) ? Math.max(0, one as number) : 0;
    if (at % 2 === 0) runs.push(Math.min(count, Math.max(0, folders.length - 1)));
    else {
      runs.push(Math.min(count, left));
      left -= Math.min(count, left);
    }
  }
  if (!folders.length) folders.push("");
  if (left) runs.push(0, left);
  return {
    folders,
    runs,
    name: Array.from({ length: type.length }, (_, at) => names[at] ?? ""),
    type,
    mode: column("mode", 0),
    size: column("size", 0),
    uid: column("uid", 0),
    gid: column("gid", 0),
    link: column("link", ""),
    change: column("change", ""),
  };
}
