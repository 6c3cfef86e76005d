// Written by labextension/models.py from pybuild_magic/summary.py and display/protocol.py: see `make types`.

/** The media type under which a notebook keeps a `Summary`. */
export const MIME_TYPE = "application/vnd.pybuild.result.v1+json";

/** The tabs of a result, by the names that `--view` takes. */
export type TabName =
  "image" | "layers" | "files" | "config" | "attestations" | "steps" | "logs" | "graph" | "timeline" | "request" | "downloads";

/** The omitted parts of a result that a note below it mentions, in words. */
export const OMISSIONS: readonly [string, string][] = [
  ["outputs", "output"],
  ["manifests", "platform"],
  ["layers", "layer"],
  ["names", "name"],
  ["attestations", "attestation"],
  ["warnings", "warning"],
  ["values", "value"],
  ["Dockerfile", "the end of the Dockerfile"],
  ["command", "the end of the docker command"],
  ["request", "the end of the request"],
  ["texts", "the ends of long texts"],
];

/** The attestations of the image for one platform: its provenance, and the packages of its SBOM. */
export interface AttestedSummary {
  platform: string;
  /** The SLSA version of the provenance, such as `v1`; "" when there is no provenance. */
  provenance?: string;
  /** Facts about the build that the provenance states, by title: the builder, the time, the commit. */
  facts?: Record<string, string>;
  materials?: MaterialSummary[];
  /** The number of all materials; `materials` has the first of them. */
  material_count?: number;
  /** The parameters of the build, by name. */
  parameters?: Record<string, string>;
  /** The number of steps in the provenance's build definition; 0 when it has none. */
  llb_steps?: number;
  /** The number of SBOMs: that of the image, which has these packages, and those of stages and the context. */
  sboms?: number;
  /** The tool that wrote the SBOM, as the SBOM names it. */
  scanner?: string;
  packages?: SoftwareSummary[];
  /** The number of all packages; `packages` has the first of them. */
  package_count?: number;
}

/** The progress of a build. */
export interface BuildProgress {
  canceling: boolean;
  /** Seconds since the build began. */
  elapsed: number;
  done: number;
  total: number;
  warnings: number;
  /** The steps, in the order of the plan. */
  steps: StepProgress[];
}

/** One path of a tree. `type` is a tar type: 0 file, 1 hard link, 2 symlink, 3 char, 4 block, 5 dir, 6 fifo. */
export interface FileSummary {
  path: string;
  type: string;
  mode: number;
  size?: number;
  uid?: number;
  gid?: number;
  link?: string;
}

/** One entry of an image's history. */
export interface HistorySummary {
  created?: string;
  created_by?: string;
  empty_layer?: boolean;
  comment?: string;
}

/** An image: one manifest, or an index of several. */
export interface ImageSummary {
  names: string[];
  digest: string;
  media_type: string;
  /** Bytes of the manifest or index itself. */
  size: number;
  is_index?: boolean;
  manifests?: ManifestSummary[];
  /** The index's own JSON text; "" when there is no index, or it is too large. */
  raw?: string;
}

/** One layer of a manifest, bottom first. */
export interface LayerSummary {
  digest: string;
  media_type: string;
  /** Bytes of the blob, as compressed. */
  size: number;
  diff_id: string;
  /** The instruction that made it, from the image's history. */
  created_by?: string;
  /** Digest of the vertex of this build that made it; "" for a layer of the base image. */
  vertex?: string;
  /** The first line of the instruction that made it. It differs from the vertex's line when stages share the
   * vertex. */
  line?: number;
  /** Bytes of its tar; -1 when unknown. The three counts below are -1 then, too. */
  uncompressed_size?: number;
  /** Files that no layer below has. Directories are not counted, here and in the next two fields. */
  files_added?: number;
  /** Files that replace a file of the layers below. */
  files_changed?: number;
  /** Files of the layers below that this layer removes. */
  files_removed?: number;
}

/** The new part of a step's log. */
export type LogNews = [
  /** The number of lines, sent or not. */
  count: number,
  runs: LogRun[],
  /** The beginning of an incomplete line. */
  rest: string,
];

/** Consecutive lines. */
export type LogRun = [
  /** The number of the first line, from 0. */
  first: number,
  lines: string[],
];

/** One image manifest, with its config and its layers. */
export interface ManifestSummary {
  digest: string;
  media_type: string;
  size: number;
  platform: string;
  config_digest: string;
  config_media_type: string;
  config_size: number;
  config: Record<string, unknown>;
  layers: LayerSummary[];
  /** The image that it was built from, as its FROM names it; "" when there is none or it is unknown. */
  base?: string;
  /** How many of the layers, counted from the bottom, belong to the base. */
  base_layers?: number;
  history?: HistorySummary[];
  annotations?: Record<string, string>;
  /** The names of the image's users by id, from its /etc/passwd; `groups` likewise, from /etc/group. */
  users?: Record<string, string>;
  groups?: Record<string, string>;
  /** The manifest's JSON text as it is stored; "" when it is too large. The config has the field `config`. */
  raw?: string;
  /** From 0 to 1, as defined by dive: for all file paths, the bytes of the smallest version in any layer (0 for a
   * removed file), divided by the bytes of all versions; -1 when unknown. */
  efficiency?: number;
  /** Uncompressed bytes of all paths that more than one layer contains or deletes (dive's definition); -1 when
   * unknown. */
  wasted_bytes?: number;
  /** The paths that waste most, worst first. */
  wasted?: WastedPath[];
}

/** A source that an image was made from; in JSON, an array of its two values. */
export type MaterialSummary = [
  uri: string,
  /** Its digest, or the commit; "" when unknown. */
  digest: string,
];

/** One output that the build wrote. */
export interface OutputSummary {
  /** The exporter. */
  type: string;
  /** The path it was written to, as the user gave it, or "". */
  dest?: string;
  /** Bytes of the file, or of the files of the directory. */
  size?: number;
  /** Whether it is a directory; for an image, this means a layout rather than an archive. */
  is_directory?: boolean;
  names?: string[];
  /** Entries of a tree, in the tree's order: all of them, or the ones nearest to the root if there are many. */
  files?: FileSummary[];
  /** All regular files of the tree. */
  file_count?: number;
  /** Bytes of all regular files of the tree. */
  file_bytes?: number;
  /** The number of entries of the tree that are not in `files`. */
  more_files?: number;
}

/** A step, sent once: its instruction, and its position. */
export interface PlanStep {
  digest: string;
  text: string;
  kind: string;
  /** `2/4` within its stage; only instructions have it. */
  place?: string;
  /** The name of the stage; "" in a Dockerfile with a single stage. */
  stage?: string;
  platform?: string;
}

/** A build and its steps, in the order of the page. */
export interface ProgressPlan {
  title: string;
  builder: string;
  /** Whether the build goes on while the user's next cells run. */
  background: boolean;
  /** The target of the comm through which a page cancels the build. */
  channel: string;
  /** The name of the build in that comm. */
  token: string;
  steps: PlanStep[];
}

/** How RUN was run: a rung of the embedded builder's ladder, which has namespaces at the top. */
export interface RungSummary {
  /** From 1 (best) to 5. */
  number: number;
  name: string;
  /** What a process on this rung lacks, as a clause; "" for nothing. */
  lacks?: string;
}

/** A package in an image; in JSON, an array of its five values. */
export type SoftwareSummary = [
  name: string,
  version: string,
  /** The type of its package URL: `deb`, `pypi`, `npm`, … */
  type: string,
  licence: string,
  /** The file that proves it, in the scanner's words. */
  proof: string,
];

/** Progress within a step, such as one layer of an image. */
export type StepCounter = [
  id: string,
  current: number,
  /** 0 when unknown. */
  total: number,
  ended: boolean,
];

/** The progress of a step. The last fields are omitted when they are empty. */
export type StepProgress = [
  state: "cached" | "canceled" | "done" | "error" | "running" | "waiting",
  seconds: number,
  counters?: StepCounter[],
  /** Current and total bytes, summed over all counters that have a total. */
  bytes?: [number, number],
  error?: string,
];

/** Everything that is shown of a build. */
export interface Summary {
  ref: string;
  builder: string;
  /** The kind of a builder other than the embedded one, as buildx names it: `docker` for an engine's own. */
  driver?: string;
  target?: string;
  seconds?: number;
  vertexes?: VertexSummary[];
  warnings?: WarningSummary[];
  /** How the RUN steps were run; None when there were none or the builder does not say. */
  rung?: RungSummary | null;
  image?: ImageSummary | null;
  /** The image's attestations, by platform. */
  attested?: AttestedSummary[];
  outputs?: OutputSummary[];
  /** The trees that are stored for pages without a kernel. */
  trees?: TreeSummary[];
  /** The SolveRequest, as JSON. */
  request?: string;
  /** The equivalent `docker buildx build` command. */
  command?: string;
  /** Why the build failed, in one sentence; the next four fields complete it. */
  error?: string;
  /** The next step, in one sentence. */
  hint?: string;
  /** The first line of `dockerfile` that the error is about (`error_end` has the last); 0 when there is none. */
  error_line?: number;
  error_end?: number;
  /** Whether the user stopped it. */
  canceled?: boolean;
  /** The name of the failed step's state while that is kept, such as `@failed`; "" when it is not kept. */
  kept?: string;
  /** The text of the Dockerfile, when it is available: from a cell, or a file. */
  dockerfile?: string;
  /** The tab of `TABS` that opens first; "" leaves the choice to the page. */
  view?: string;
  /** The token with which a page asks the kernel that ran the build for more; "" when there is none. */
  fetch?: string;
  /** How much of each part was left out to keep this document small: `files`, `vertexes`, `log lines`, `warnings`,
   * …, and the characters of the long texts of `OMISSIONS`. Every text that was cut ends in an ellipsis. */
  omitted?: Record<string, number>;
}

/** The entries of a tree, compressed, for a page that has no kernel to ask for them. */
export interface TreeSummary {
  /** The tree's identity: `output:N`, `layer:DIFFID` (the layer's changes, each entry marked) or `image`. */
  of: string;
  /** The platform of the manifest; "" for an output. */
  platform?: string;
  /** The number of entries in the tree. */
  entries?: number;
  /** The number of entries that are left out here but counted in their directories. */
  more?: number;
  /** The columns as JSON, compressed with zlib and encoded in base64; see results/columns.py. */
  columns: string;
}

/** One step of the build. */
export interface VertexSummary {
  digest: string;
  name: string;
  inputs?: string[];
  cached?: boolean;
  started?: string | null;
  completed?: string | null;
  seconds?: number;
  error?: string;
  /** The first lines of its output, when `log_tail` does not reach back to them. */
  log_head?: string;
  /** The last lines of its output. */
  log_tail?: string;
  /** For each line of `log_head` and then of `log_tail`, the seconds since the step began. */
  log_seconds?: number[];
  /** The number of all lines of its output. */
  log_lines?: number;
  /** `source`, `exec`, `file`, `merge`, `diff`, `internal` or `export`; "" when unknown. */
  kind?: string;
  /** The stage of the Dockerfile: its name, or BuildKit's `stage-0` if it is unnamed; "" for a step outside of any
   * stage. */
  stage?: string;
  /** The first line of its instruction in `Summary.dockerfile`; 0 when it has none. */
  line?: number;
}

/** A warning, with its Dockerfile line (0 when none). */
export interface WarningSummary {
  short: string;
  detail?: string;
  url?: string;
  line?: number;
  /** The directory of the context that contains files an image seldom needs. */
  context?: string;
  /** The patterns that exclude those files, for the context's `.dockerignore`. */
  ignorable?: string[];
}

/** A path that is in several layers, which wastes room; in JSON, an array of its three values. */
export type WastedPath = [
  path: string,
  /** The number of layers that contain or delete it. */
  count: number,
  /** Its bytes in all of these layers together. */
  size: number,
];
