// What the kernel says of a running build: the traits of `ProgressView` in pybuild_magic/display/widget.py.

export type State = "waiting" | "running" | "done" | "cached" | "error" | "canceled";

/** A step, told once: what it is and where it belongs. */
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

export interface Plan {
  title: string;
  builder: string;
  background: boolean;
  /** The target of the comm by which a page cancels the build, and what it says there to name it. */
  channel: string;
  token: string;
  steps: PlanStep[];
}

/** Progress within a step, such as one layer of an image: its name, bytes, all bytes (0: unknown), whether it ended. */
export type Counter = [id: string, current: number, total: number, ended: boolean];

/** How far a step is; `bytes` are current and total of all its counters that have one. */
export type Cells = [state: State, seconds: number, counters?: Counter[], bytes?: [number, number], error?: string];

export interface Progress {
  canceling: boolean;
  elapsed: number;
  done: number;
  total: number;
  warnings: number;
  /** In the order of the plan. */
  steps: Cells[];
}

/** Lines that follow each other, with the number of the first, from 0. */
export type Run = [first: number, lines: string[]];

/** One step's log: how many lines there are, runs of them, and the beginning of a line to come. */
export type LogNews = [count: number, runs: Run[], rest: string];

export type Logs = Record<string, LogNews>;

/** Where the traits come from: an anywidget model, or in tests anything like it. */
export interface Model {
  get(key: "plan"): Plan;
  get(key: "state"): Progress;
  get(key: "logs"): Logs;
  on(event: string, callback: (...values: never[]) => void): void;
  off(event: string, callback: (...values: never[]) => void): void;
  send(content: unknown): void;
  /** The widget manager of the page; JupyterLab's and Notebook's have the kernel's connection. */
  widget_manager?: unknown;
}
