// The cancel button: asks the kernel, and where the kernel cannot hear while its cell runs, interrupts that cell.

import type { Model } from "./protocol";

const PATIENCE = 350; // milliseconds for an answer; a kernel that hears needs a few

interface Comm {
  /** Ends when the kernel has a thread for this comm's messages: JupyterLab 4.4 and later, with ipykernel 7 and later. */
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

/** The page's connection to the kernel, where the front end's widget manager has one. */
export function connection(model: Model): Connection | null {
  return (model.widget_manager as { kernel?: Connection | null } | undefined)?.kernel ?? null;
}

/** What a page does to have its build canceled, got ready before it is needed. */
export class Canceler {
  private comm: Comm | null = null;

  constructor(private readonly model: Model) {}

  /** Has the kernel make a thread that hears this page, if it can. */
  prepare(): void {
    const kernel = connection(this.model);
    if (this.comm || !kernel?.supportsSubshells) return;
    this.comm = kernel.createComm?.(this.model.get("plan").channel) ?? null;
    this.comm?.subshellStarted?.catch(() => (this.comm = null));
  }

  /**
   * Asks for the end of the build. `heard` says whether the kernel has answered; `late` is called when nothing here can
   * reach it before the cell that it is at has ended.
   */
  cancel(heard: () => boolean, late: () => void): void {
    const { background, token } = this.model.get("plan");
    this.model.send({ method: "cancel" });
    const { comm } = this;
    void comm?.subshellStarted?.then(() => comm.open({ token }));
    setTimeout(() => {
      if (heard()) return;
      const kernel = connection(this.model);
      // A build in the background is not the cell that runs: to interrupt that would end somebody else's work.
      if (background || !kernel?.interrupt) late();
      else kernel.interrupt().catch(late);
    }, PATIENCE);
  }

  dispose(): void {
    this.comm?.dispose();
  }
}
