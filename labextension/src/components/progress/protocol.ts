// The messages of a running build, in the words of the page, and where they come from.

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

/** By the digest of its step: the new part of a log. */
export type Logs = Record<string, LogNews>;

/** Where the traits come from: an anywidget model, or in tests anything like it. */
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
