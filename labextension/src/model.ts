// The documents that are drawn, in the words of the page, and the kernel that knows more.

import type { FileSummary, ImageSummary, ManifestSummary } from "./generated";

export { MIME_TYPE } from "./generated";
export type {
  AttestedSummary as Attested,
  HistorySummary as History,
  ImageSummary as Image,
  LayerSummary as Layer,
  ManifestSummary as Manifest,
  MaterialSummary as Material,
  OutputSummary as Output,
  RungSummary as Rung,
  SoftwareSummary as Software,
  Summary,
  TabName,
  TreeSummary as Tree,
  VertexSummary as Vertex,
  WarningSummary as Warning,
  WastedPath as Wasted,
} from "./generated";

/** The type of an entry that stands for those of its directory that are not kept. */
export const REST = "+";

/** One path of a tree; of a layer's, with what the layer did to it. */
export interface FileEntry extends FileSummary {
  /** A, M, D or "". */
  change?: string;
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
  /** By which it knows the result; "" for what the store has. */
  token: string;
  ask(method: string, params: Record<string, unknown>): Promise<Answer>;
}

/** Bytes of everything an image is made of, each blob once. */
export function totalSize(image: ImageSummary): number {
  const blobs = new Map<string, number>([[image.digest, image.size]]);
  for (const manifest of image.manifests ?? []) {
    blobs.set(manifest.digest, manifest.size);
    blobs.set(manifest.config_digest, manifest.config_size);
    for (const layer of manifest.layers) blobs.set(layer.digest, layer.size);
  }
  return [...blobs.values()].reduce((sum, size) => sum + size, 0);
}

/** Whether a manifest holds attestations about another one, and no root file system. */
export const isAttestation = (manifest: ManifestSummary): boolean =>
  manifest.annotations?.["vnd.docker.reference.type"] === "attestation-manifest" ||
  manifest.platform === "unknown/unknown";

/** The manifests that can be run, or all where none can. */
export function runnable(image: ImageSummary | null | undefined): ManifestSummary[] {
  const all = image?.manifests ?? [];
  const some = all.filter((one) => !isAttestation(one));
  return some.length ? some : all;
}
