// The documents that the page draws, and the kernel that knows more about them.

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

/** The type of an entry that stands for the entries of its directory that were not kept. */
export const REST = "+";

/** One path of a tree; in the tree of a layer, with the change that the layer made. */
export interface FileEntry extends FileSummary {
  /** A, M, D or "". */
  change?: string;
}

/** The entries of a tree as columns: what is a list has a value for each entry. `change` is A, M, D or "". */
export interface Columns {
  /** The folders that have entries; "" is the root. */
  folders: string[];
  /** Runs of entries in one folder, two numbers each: the index of the folder in `folders`, and the number of entries. */
  runs: number[];
  /** The names of all entries, joined by "/": one text, since 100,000 short ones cost too much. */
  names: string;
  /** Where the name of each entry begins in `names`, and where the name of a further one would. */
  starts: Int32Array;
  /** A letter for each entry, as in tar. */
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

/** A running kernel that knows the result. A question that it refuses is rejected with a sentence. */
export interface Kernel {
  /** Whether it has only the files of the image: another kernel built it. */
  filesOnly?: boolean;
  /** By which it knows the result; "" for what the store has. */
  token: string;
  ask(method: string, params: Record<string, unknown>): Promise<Answer>;
}

/** Return the bytes of all blobs of an image, each counted once. */
export function totalSize(image: ImageSummary): number {
  const blobs = new Map<string, number>([[image.digest, image.size]]);
  for (const manifest of image.manifests ?? []) {
    blobs.set(manifest.digest, manifest.size);
    blobs.set(manifest.config_digest, manifest.config_size);
    for (const layer of manifest.layers) blobs.set(layer.digest, layer.size);
  }
  return [...blobs.values()].reduce((sum, size) => sum + size, 0);
}

/** Return whether a manifest holds attestations about another one, and no root file system. */
export const isAttestation = (manifest: ManifestSummary): boolean =>
  manifest.annotations?.["vnd.docker.reference.type"] === "attestation-manifest" ||
  manifest.platform === "unknown/unknown";

/** Return the manifests that can be run, or all where none can. */
export function runnable(image: ImageSummary | null | undefined): ManifestSummary[] {
  const manifests = image?.manifests ?? [];
  const images = manifests.filter((manifest) => !isAttestation(manifest));
  return images.length ? images : manifests;
}
