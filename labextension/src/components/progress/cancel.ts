// The cancel button: asks the kernel, and where the kernel cannot hear while its cell runs, interrupts that cell.

import type { Model } from "./protocol";

const PATIENCE = 350; // milliseconds for an answer; a kernel with subshells needs a few

interface Connection {
  status?: string;
  interrupt?: () => Promise<void>;
}

/** The page's connection to the kernel, where the front end's widget manager has one. */
export function connection(model: Model): Connection | null {
  const manager = model.widget_manager as { kernel?: Connection | null; context?: { sessionContext?: { session?: { kernel?: Connection } | null } } } | undefined;
  return manager?.kernel ?? manager?.context?.sessionContext?.session?.kernel ?? null;
}

/**
 * Asks for the end of the build. `heard` says whether the kernel has answered; `late` is called when nothing here can
 * reach it before the cell that it is at has ended.
 */
export function cancel(model: Model, background: boolean, heard: () => boolean, late: () => void): void {
  model.send({ method: "cancel" });
  setTimeout(() => {
    if (heard()) return;
    const kernel = connection(model);
    // A build in the background is not the cell that runs: to interrupt that would end somebody else's work.
    if (background || !kernel?.interrupt) late();
    else kernel.interrupt().catch(late);
  }, PATIENCE);
}
