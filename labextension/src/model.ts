// The documents that are drawn, as pybuild_magic/summary.py writes them, and the kernel that knows more.

/** The media type under which a notebook keeps a `Summary`. */
export const MIME_TYPE = "application/vnd.pybuild.result.v1+json";

/** One layer of a manifest, bottom first. Sizes are bytes, -1 when unknown. */
export interface Layer {
  digest: string;
  media_type: string;
  size: number;
  diff_id: string;
  created_by?: string;
  files_added?: number;
  files_changed?: number;
  files_removed?: number;
  uncompressed_size?: number;
  /** The digest of the vertex that made it. */
  vertex?: string;
  /** The line of its instruction; not the vertex's when stages share the vertex. */
  line?: number;
}

export interface History {
  created?: string;
  created_by?: string;
  empty_layer?: boolean;
  comment?: string;
}

/** A path that several layers hold: how often, and how many bytes of that cannot be seen in the image. */
export type Wasted = [path: string, count: number, bytes: number];

export interface Manifest {
  digest: string;
  media_type: string;
  size: number;
  platform: string;
  config_digest: string;
  config_media_type: string;
  config_size: number;
  config: Record<string, unknown>;
  layers: Layer[];
  history?: History[];
  annotations?: Record<string, string>;
  /** dive's: from 0 to 1, -1 when unknown. */
  efficiency?: number;
  wasted_bytes?: number;
  wasted?: Wasted[];
  /** The manifest's own JSON text, "" when it was too long to keep. */
  raw?: string;
}

/** An image: one manifest, or an index of several. */
export interface Image {
  names: string[];
  digest: string;
  media_type: string;
  size: number;
  is_index?: boolean;
  manifests?: Manifest[];
  raw?: string;
}

/** The type of an entry that stands for those of its directory that are not kept. */
export const REST = "+";

/** One path of a tree. `type` is a tar type: 0 file, 1 hard link, 2 symlink, 3 char, 4 block, 5 dir, 6 fifo. */
export interface FileEntry {
  path: string;
  type: string;
  mode: number;
  size?: number;
  uid?: number;
  gid?: number;
  link?: string;
  /** A, M, D or "". */
  change?: string;
}

/** One thing the build wrote. */
export interface Output {
  type: string;
  dest?: string;
  size?: number;
  names?: string[];
  files?: FileEntry[];
  file_count?: number;
  file_bytes?: number;
  more_files?: number;
}

/** One step of the build. Times are ISO 8601. */
export interface Vertex {
  digest: string;
  name: string;
  inputs?: string[];
  cached?: boolean;
  started?: string | null;
  completed?: string | null;
  seconds?: number;
  error?: string;
  log_tail?: string;
  /** All lines it printed. */
  log_lines?: number;
  kind?: string;
  stage?: string;
  /** The Dockerfile's line, 0 when none. */
  line?: number;
}

/** The entries of a tree, packed: see results/columns.py. */
export interface Tree {
  /** `output:N`, `layer:DIFFID` or `image`. */
  of: string;
  platform?: string;
  entries?: number;
  /** Entries that are only counted in the directories that they are in. */
  more?: number;
  columns: string;
}

export interface Warning {
  short: string;
  detail?: string;
  url?: string;
  line?: number;
}

/** Everything that is shown of a build. What is optional is missing in notebooks of older versions. */
export interface Summary {
  ref: string;
  builder: string;
  target?: string;
  seconds?: number;
  vertexes?: Vertex[];
  warnings?: Warning[];
  image?: Image | null;
  outputs?: Output[];
  trees?: Tree[];
  request?: string;
  command?: string;
  error?: string;
  dockerfile?: string;
  /** What was left out to keep the document small, and how much of it. */
  omitted?: Record<string, number>;
  /** With this the kernel that made it answers questions about it; "" when there is none. */
  fetch?: string;
}

/** The columns of a tree's entries, of equal length but for the first two. `change` is A, M, D or "". */
export interface Columns {
  /** The folders that entries are in; "" is the root. */
  folders: string[];
  /** Entries that follow each other in one folder: its place in `folders` and how many they are; then the next ones. */
  runs: number[];
  name: string[];
  /** A letter for each, as tar has them. */
  type: string;
  mode: number[];
  size: number[];
  uid: number[];
  gid: number[];
  link: string[];
  change: string[];
}

export interface Answer {
  result: unknown;
  buffers: ArrayBuffer[];
}

/** A running kernel that made the result. Rejects with a sentence. */
export interface Kernel {
  /** It has the image's files, and nothing else of the build: another kernel has made that. */
  filesOnly?: boolean;
  ask(method: string, params: Record<string, unknown>): Promise<Answer>;
}

export const layersOf = (summary: Summary): Layer[] => (summary.image?.manifests ?? []).flatMap((one) => one.layers);

/** Bytes of everything an image is made of, each blob once. */
export function totalSize(image: Image): number {
  const blobs = new Map<string, number>([[image.digest, image.size]]);
  for (const manifest of image.manifests ?? []) {
    blobs.set(manifest.digest, manifest.size);
    blobs.set(manifest.config_digest, manifest.config_size);
    for (const layer of manifest.layers) blobs.set(layer.digest, layer.size);
  }
  return [...blobs.values()].reduce((sum, size) => sum + size, 0);
}

/** Whether a manifest holds attestations about another one, and no root file system. */
export const isAttestation = (manifest: Manifest): boolean =>
  manifest.annotations?.["vnd.docker.reference.type"] === "attestation-manifest" ||
  manifest.platform === "unknown/unknown";

/** The manifests that can be run, or all where none can. */
export function runnable(image: Image | null | undefined): Manifest[] {
  const all = image?.manifests ?? [];
  const some = all.filter((one) => !isAttestation(one));
  return some.length ? some : all;
}
