// Cancelling a build: a question to the kernel, and an interrupt of its cell where the kernel does not listen meanwhile.

import type { Model } from "./protocol";

const PATIENCE = 350; // milliseconds for an answer; a kernel that listens needs a few

interface Comm {
  /** Settles when the kernel has a thread for this comm: JupyterLab 4.4 and later, with ipykernel 7 and later. */
  subshellStarted?: Promise<void>;
  open: (data: object) => unknown;
  dispose: () => void;
}

interface Connection {
  status?: string;
  supportsSubshells?: boolean;
  createComm?: (target: string) => Comm;
  interrupt?: () => Promise<void>;
}

/** Return the page's connection to the kernel, where the widget manager has one. */
export function connection(model: Model): Connection | null {
  return (model.widget_manager as { kernel?: Connection | null } | undefined)?.kernel ?? null;
}

/** The way to cancel a build, prepared before it is needed. */
export class Canceler {
  private comm: Comm | null = null;

  constructor(private readonly model: Model) {}

  /** Let the kernel start a thread that listens to this page, if it can. */
  prepare(): void {
    const kernel = connection(this.model);
    if (this.comm || !kernel?.supportsSubshells) return;
    this.comm = kernel.createComm?.(this.model.get("plan").channel) ?? null;
    this.comm?.subshellStarted?.catch(() => (this.comm = null));
  }

  /**
   * Ask the kernel to cancel the build. `isHeard` returns whether it has answered; `unreachable` is called when no message
   * can reach it before its present cell ends.
   */
  cancel(isHeard: () => boolean, unreachable: () => void): void {
    const { background, token } = this.model.get("plan");
    this.model.send({ method: "cancel" });
    const { comm } = this;
    void comm?.subshellStarted?.then(() => comm.open({ token }));
    setTimeout(() => {
      if (isHeard()) return;
      const kernel = connection(this.model);
      // A build in the background is not the cell that runs: an interrupt would end other work.
      if (background || !kernel?.interrupt) unreachable();
      else kernel.interrupt().catch(unreachable);
    }, PATIENCE);
  }

  dispose(): void {
    this.comm?.dispose();
  }
}
