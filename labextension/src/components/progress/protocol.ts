// The messages of a running build, and their source.

import type { BuildProgress, LogNews, ProgressPlan, StepProgress } from "../../generated";

export type {
  BuildProgress as Progress,
  LogNews,
  PlanStep,
  ProgressPlan as Plan,
  StepCounter as Counter,
  StepProgress as Cells,
} from "../../generated";

export type State = StepProgress[0];

/** The new parts of logs, by the digest of the step. */
export type Logs = Record<string, LogNews>;

/** The source of the traits: the model of anywidget, or a like one in tests. */
export interface Model {
  get(key: "plan"): ProgressPlan;
  get(key: "state"): BuildProgress;
  get(key: "logs"): Logs;
  on(event: string, callback: (...values: never[]) => void): void;
  off(event: string, callback: (...values: never[]) => void): void;
  send(content: unknown): void;
  /** The widget manager of the page; JupyterLab's and Notebook's have the kernel's connection. */
  widget_manager?: unknown;
}
