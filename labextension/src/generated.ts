// Written by labextension/models.py from pybuild_magic/summary.py and display/protocol.py: see `make types`.

/** The media type under which a notebook keeps a `Summary`. */
export const MIME_TYPE = "application/vnd.pybuild.result.v1+json";

/** The tabs of a result, by the names that `--view` takes. */
export type TabName =
  "image" | "layers" | "files" | "config" | "attestations" | "steps" | "logs" | "graph" | "timeline" | "request" | "downloads";

/** What is attested of the image for one platform: its provenance, and the packages of its SBOM. */
export interface AttestedSummary {
  platform: string;
  /** The version of SLSA that the provenance has, such as `v1`; "" when there is none. */
  provenance?: string;
  /** What the provenance tells of the build, by its title: the builder, when it ran, the commit. */
  facts?: Record<string, string>;
  materials?: MaterialSummary[];
  /** All materials, of which the first are in `materials`. */
  material_count?: number;
  /** What the build was asked for, by name. */
  parameters?: Record<string, string>;
  /** Steps of the build definition that the provenance has; 0 when it has none. */
  llb_steps?: number;
  /** SBOMs: that of the image, whose packages these are, and those of stages and the context. */
  sboms?: number;
  /** What the SBOM says of itself. */
  scanner?: string;
  packages?: SoftwareSummary[];
  /** All packages, of which the first are in `packages`. */
  package_count?: number;
}

/** How far a build is. */
export interface BuildProgress {
  canceling: boolean;
  /** Seconds since the build began. */
  elapsed: number;
  done: number;
  total: number;
  warnings: number;
  /** In the order of the plan. */
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
  /** Bytes of the blob, compressed as it is. */
  size: number;
  diff_id: string;
  /** The instruction that made it, as the image's history tells. */
  created_by?: string;
  /** Digest of the vertex of this build that made it; "" for a layer of the base image. */
  vertex?: string;
  /** The first line of the instruction that made it. It is not the vertex's when stages share the vertex. */
  line?: number;
  /** Bytes of its tar; -1 when not known. So are the three counts. */
  uncompressed_size?: number;
  /** Files that the layers below do not have; directories are not counted, here and in the next two. */
  files_added?: number;
  /** Files that are there instead of others of the layers below. */
  files_changed?: number;
  /** Files of the layers below that are not seen any more. */
  files_removed?: number;
}

/** The new part of one step's log. */
export type LogNews = [
  /** Lines that there are, sent or not. */
  count: number,
  runs: LogRun[],
  /** The beginning of a line to come. */
  rest: string,
];

/** Lines that follow each other. */
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
  /** The image that it was built from, as its FROM names it; "" when there is none, or it is not known. */
  base?: string;
  /** How many of the layers, from the bottom on, are those of the base. */
  base_layers?: number;
  history?: HistorySummary[];
  annotations?: Record<string, string>;
  /** The names of the image's users, by their ids, as its /etc/passwd has them; so are `groups`, of /etc/group. */
  users?: Record<string, string>;
  groups?: Record<string, string>;
  /** The manifest's own JSON text, or "" when it is too large; `config` is the config's. */
  raw?: string;
  /** From 0 to 1, as dive has it: over all paths of files, the bytes of the smallest version that a layer has of
   * each (0 of a removed one), over the bytes of all versions; -1 when not known. */
  efficiency?: number;
  /** Bytes, uncompressed, of all paths that more than one layer has or deletes (dive's definition); -1: not known.
   * */
  wasted_bytes?: number;
  /** The paths that waste most, worst first. */
  wasted?: WastedPath[];
}

/** A source that an image was made of; in JSON, an array of its two values. */
export type MaterialSummary = [
  uri: string,
  /** Its digest, or the commit; "" when it is not told. */
  digest: string,
];

/** One thing the build wrote. */
export interface OutputSummary {
  /** The exporter. */
  type: string;
  /** The path it was written to, as the user gave it, or "". */
  dest?: string;
  /** Bytes of the file, or of the files of the directory. */
  size?: number;
  /** Whether it is a directory: of an image, a layout rather than an archive. */
  is_directory?: boolean;
  names?: string[];
  /** Entries of a tree, in its order: all, or of a large one those nearest to its root. */
  files?: FileSummary[];
  /** All regular files of the tree. */
  file_count?: number;
  /** Bytes of all regular files of the tree. */
  file_bytes?: number;
  /** Entries of the tree that are not in `files`. */
  more_files?: number;
}

/** A step, told once: its instruction, and where it belongs. */
export interface PlanStep {
  digest: string;
  text: string;
  kind: string;
  /** `2/4` in its stage; only instructions have one. */
  place?: string;
  /** The stage's name; "" in a Dockerfile of one stage. */
  stage?: string;
  platform?: string;
}

/** A build and its steps, in the order of the page. */
export interface ProgressPlan {
  title: string;
  builder: string;
  /** Whether the build goes on while the user's next cells run. */
  background: boolean;
  /** The target of the comm by which a page cancels the build. */
  channel: string;
  /** The name of the build, for that comm. */
  token: string;
  steps: PlanStep[];
}

/** How RUN was run: a rung of the embedded builder's ladder, which has namespaces on top. */
export interface RungSummary {
  /** From 1, the best, to 5. */
  number: number;
  name: string;
  /** The differences for a process on it, in a clause; "" for none. */
  lacks?: string;
}

/** A package that is in an image; in JSON, an array of its five values. */
export type SoftwareSummary = [
  name: string,
  version: string,
  /** Of its package URL: `deb`, `pypi`, `npm`, … */
  type: string,
  licence: string,
  /** The file that proves it, in the scanner's words. */
  proof: string,
];

/** Progress within a step, such as one layer of an image. */
export type StepCounter = [
  id: string,
  current: number,
  /** 0 when it is not known. */
  total: number,
  ended: boolean,
];

/** How far a step is. The last fields are left out where they say nothing. */
export type StepProgress = [
  state: "cached" | "canceled" | "done" | "error" | "running" | "waiting",
  seconds: number,
  counters?: StepCounter[],
  /** Current and total, of all counters that have a total. */
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
  /** How its RUNs were run; None when none was, or the builder does not say. */
  rung?: RungSummary | null;
  image?: ImageSummary | null;
  /** What is attested of the image, by platform. */
  attested?: AttestedSummary[];
  outputs?: OutputSummary[];
  /** Trees that are kept for pages without a kernel. */
  trees?: TreeSummary[];
  /** The SolveRequest, as JSON. */
  request?: string;
  /** The `docker buildx build` command that means the same. */
  command?: string;
  /** Why it failed, in one sentence; what else there is to say of a failed build are the next four. */
  error?: string;
  /** The next step, in one sentence. */
  hint?: string;
  /** The first line of `dockerfile` that the error is about, and in `error_end` the last; 0 when there is none. */
  error_line?: number;
  error_end?: number;
  /** Whether its user stopped it. */
  canceled?: boolean;
  /** The name by which what the step left that failed can be looked into for some time, as `@failed`; "" for none.
   * */
  kept?: string;
  /** Its text, when it is at hand: a cell, or a file. */
  dockerfile?: string;
  /** The one of `TABS` that is open first; "" leaves that to the page. */
  view?: string;
  /** The token by which the kernel that built it answers questions about it; "" when there is none. */
  fetch?: string;
  /** The parts that were left out to keep this document small, with their numbers: `files`, `vertexes`, `log
   * lines`, `history`, `warnings`, `characters` (of long texts, each of which then ends in an ellipsis). */
  omitted?: Record<string, number>;
}

/** The entries of a tree, compressed: what a page shows of it when no kernel has the tree. */
export interface TreeSummary {
  /** `output:N`, `layer:DIFFID` (what a layer did, each entry marked) or `image`. */
  of: string;
  /** The manifest's; "" for an output. */
  platform?: string;
  /** All entries of the tree. */
  entries?: number;
  /** Entries that are not here, but counted in the directories that they are in. */
  more?: number;
  /** The base64 of the zlib stream of the JSON of the columns, see results/columns.py. */
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
  /** The first lines it printed, when `log_tail` does not reach back to them. */
  log_head?: string;
  /** The last lines it printed. */
  log_tail?: string;
  /** Of each line of `log_head` and then of `log_tail`: seconds from the start of the step. */
  log_seconds?: number[];
  /** All lines it printed. */
  log_lines?: number;
  /** `source`, `exec`, `file`, `merge`, `diff`, `internal`, `export`; "" when not known. */
  kind?: string;
  /** The stage of the Dockerfile: its name, or BuildKit's `stage-0` for one without; "" for what is of none. */
  stage?: string;
  /** The first line of its instruction in `Summary.dockerfile`, 0 when there is none. */
  line?: number;
}

/** A warning, with its Dockerfile line (0 when none). */
export interface WarningSummary {
  short: string;
  detail?: string;
  url?: string;
  line?: number;
  /** The directory of a context that has what an image seldom needs. */
  context?: string;
  /** The patterns that would leave that out, in the context's `.dockerignore`. */
  ignorable?: string[];
}

/** A path that several layers have, so that room is wasted; in JSON, an array of its three values. */
export type WastedPath = [
  path: string,
  /** Layers that have it, or that delete it. */
  count: number,
  /** Bytes of it in all of these layers together. */
  size: number,
];
