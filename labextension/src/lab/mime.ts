// Draws a result that a notebook keeps: without a kernel what the document has, and more where the kernel still runs.

import type { ISessionContext } from "@jupyterlab/apputils";
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

/** The session of the notebook or console that a widget is in. */
function sessionOf(widget: Widget): ISessionContext | null {
  for (let parent = widget.parent; parent; parent = parent.parent) {
    if ("sessionContext" in parent) return parent.sessionContext as ISessionContext;
  }
  return null;
}

/** A kernel that has made the result, or whose store has its image; null when it has neither. */
async function knowing(kernel: Jupyter.IKernelConnection, summary: Summary): Promise<Kernel | null> {
  const own = kernelOf(kernel, summary.fetch);
  if ((await own.ask("known", {})).result === true) return own;
  const manifests = runnable(summary.image).map(({ platform, digest, layers }) => ({
    platform,
    digest,
    diff_ids: layers.map((layer) => layer.diff_id),
  }));
  if (!manifests.length) return null;
  const { result } = await own.ask("reopen", { digest: summary.image?.digest ?? "", manifests });
  const { token } = result as { token: string };
  return token ? kernelOf(kernel, token, true) : null;
}

export class ResultRenderer extends Widget implements IRenderMime.IRenderer {
  private summary: Summary | null = null;
  private session: ISessionContext | null = null;
  /** The kernel that is asked, if any. */
  private shown: Jupyter.IKernelConnection | null = null;
  private drawn: Drawn | null = null;
  /** Until the button of the mouse that is down on the result is up again. */
  private press: Promise<void> | null = null;
  private readonly chosen: Chosen = { tab: "" };

  constructor() {
    super();
    this.addClass("pb-lab-result");
    this.node.addEventListener("pointerdown", () => {
      this.press = new Promise((resolve) => {
        // The click comes after it.
        const released = (): unknown => setTimeout(resolve);
        for (const event of ["pointerup", "pointercancel"]) window.addEventListener(event, released, { once: true });
      });
    });
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.drawn?.dispose();
    this.shown = null;
    this.summary = summaryOf(model.data[MIME_TYPE]);
    this.drawn = renderResult(this.node, this.summary, null, this.chosen);
    return this.look();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.session = sessionOf(this);
    this.session?.kernelChanged.connect(this.look, this);
    void this.look();
  }

  protected override onBeforeDetach(message: Message): void {
    this.session?.kernelChanged.disconnect(this.look, this);
    this.session = null;
    super.onBeforeDetach(message);
  }

  override dispose(): void {
    this.drawn?.dispose();
    this.drawn = null;
    super.dispose();
  }

  /** Turns to a kernel that knows the result, or to none when it is there no more. */
  private async look(): Promise<void> {
    const kernel = this.session?.session?.kernel ?? null;
    if (kernel === this.shown || !this.summary?.fetch) return;
    let asked: Kernel | null = null;
    if (kernel) {
      asked = await knowing(kernel, this.summary).catch(() => null);
      await this.press; // new buttons would move what is pressed from under the mouse
      if (kernel !== this.session?.session?.kernel) return;
    }
    const wanted = asked ? kernel : null;
    if (wanted === this.shown) return;
    this.shown = wanted;
    this.drawn?.turnTo(asked);
  }
}

export const rendererFactory: IRenderMime.IRendererFactory = {
  safe: true,
  mimeTypes: [MIME_TYPE],
  // Before text/html, which is for those who have no such renderer.
  defaultRank: 10,
  createRenderer: () => new ResultRenderer(),
};
