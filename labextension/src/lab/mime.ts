// The renderer of results in notebooks: what the document holds, and more where a kernel that knows the result runs.

import type { ISessionContext } from "@jupyterlab/apputils";
import { NotebookActions } from "@jupyterlab/notebook";
import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import type { Kernel as Jupyter } from "@jupyterlab/services";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import { renderResult } from "../components/result";
import type { Chosen, Drawn } from "../components/result";
import { summaryOf } from "../document";
import { MIME_TYPE, runnable } from "../model";
import type { Kernel, Summary } from "../model";
import { kernelOf } from "./channel";

/** Return the session of the notebook or console that a widget is in. */
function sessionOf(widget: Widget): ISessionContext | null {
  for (let parent = widget.parent; parent; parent = parent.parent) {
    if ("sessionContext" in parent) return parent.sessionContext as ISessionContext;
  }
  return null;
}

/** Return the way to ask a kernel that made the result, or whose store has its image; null when it has neither. */
async function knowing(kernel: Jupyter.IKernelConnection, summary: Summary): Promise<Kernel | null> {
  const own = kernelOf(kernel, summary.fetch);
  if ((await own.ask("known", {})).result === true) return own;
  const manifests = runnable(summary.image).map(({ platform, digest, layers }) => ({
    platform,
    digest,
    diff_ids: layers.map((layer) => layer.diff_id),
  }));
  if (!manifests.length) return summary.kept ? kernelOf(kernel, "", true) : null;
  const { result } = await own.ask("reopen", { digest: summary.image?.digest ?? "", manifests });
  const { token } = result as { token: string };
  return token ? kernelOf(kernel, token, true) : null;
}

export class ResultRenderer extends Widget implements IRenderMime.IRenderer {
  private summary: Summary | null = null;
  private session: ISessionContext | null = null;
  /** The kernel that answers questions about the result, if one does. */
  private source: Jupyter.IKernelConnection | null = null;
  /** Whether the kernel refused to answer, as one that has not loaded the extension does. */
  private isRefused = false;
  private drawing: Drawn | null = null;
  /** Settles when the mouse button that is pressed on the result has been released. */
  private press: Promise<void> | null = null;
  private readonly choice: Chosen = { tab: "" };

  constructor() {
    super();
    this.addClass("pb-lab-result");
    this.node.addEventListener("pointerdown", () => {
      this.press = new Promise((resolve) => {
        // The click event follows the release.
        const released = (): unknown => setTimeout(resolve);
        for (const event of ["pointerup", "pointercancel"]) window.addEventListener(event, released, { once: true });
      });
    });
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.drawing?.dispose();
    this.source = null;
    this.summary = summaryOf(model.data[MIME_TYPE]);
    this.drawing = renderResult(this.node, this.summary, null, this.choice);
    return this.findKernel();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.session = sessionOf(this);
    this.session?.kernelChanged.connect(this.findKernel, this);
    NotebookActions.executed.connect(this.ask, this);
    void this.findKernel();
  }

  /** Ask again after a cell has run, which may have loaded the extension. */
  private ask(): void {
    if (this.isRefused) void this.findKernel();
    this.drawing?.ask();
  }

  protected override onBeforeDetach(message: Message): void {
    this.session?.kernelChanged.disconnect(this.findKernel, this);
    NotebookActions.executed.disconnect(this.ask, this);
    this.session = null;
    super.onBeforeDetach(message);
  }

  override dispose(): void {
    this.drawing?.dispose();
    this.drawing = null;
    super.dispose();
  }

  /** Use the session's kernel if it knows the result, and none otherwise. */
  private async findKernel(): Promise<void> {
    const kernel = this.session?.session?.kernel ?? null;
    if (kernel === this.source || !this.summary?.fetch) return;
    let answerer: Kernel | null = null;
    if (kernel) {
      const found = await knowing(kernel, this.summary).catch(() => undefined);
      this.isRefused = found === undefined;
      answerer = found ?? null;
      await this.press; // new buttons would move the pressed one away from under the mouse
      if (kernel !== this.session?.session?.kernel) return;
    }
    const source = answerer ? kernel : null;
    if (source === this.source) return;
    this.source = source;
    this.drawing?.turnTo(answerer);
  }
}

export const rendererFactory: IRenderMime.IRendererFactory = {
  safe: true,
  mimeTypes: [MIME_TYPE],
  // Before text/html, which serves pages without this renderer.
  defaultRank: 10,
  createRenderer: () => new ResultRenderer(),
};
