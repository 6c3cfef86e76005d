// A button beside the path of each output that the kernel can send; it fetches the bytes in chunks.

import type { AnyModel } from "@anywidget/types";
import { download } from "../components/shared/download";
import { kernelOf } from "../widgetchannel";
import { humanBytes } from "../words";

interface State {
  tokens: string[];
}
type Model = AnyModel<State>;

const BUSY = 700; // milliseconds without an answer after which the kernel counts as busy

/** Download what is `offered`, "TOKEN output:N", however long the kernel is busy, and show how far that is. */
async function save(model: Model, offered: string, show: (text: string) => void, signal: AbortSignal): Promise<void> {
  const [token = "", of] = offered.split(" ");
  const { kernel, dispose } = kernelOf(model as AnyModel, token);
  const timer = window.setTimeout(() => show("Waiting for the kernel…"), BUSY);
  const progress = (received: number, size: number): void => {
    window.clearTimeout(timer);
    show(`${Math.floor((100 * received) / size)} % of ${humanBytes(size)}`);
  };
  try {
    await download({ kernel, method: "download", params: { of }, name: "", size: 0, signal, progress });
  } finally {
    window.clearTimeout(timer);
    dispose();
  }
}

function addButton(model: Model, path: HTMLElement, token: string): HTMLButtonElement {
  const button = document.createElement("button");
  let running: AbortController | null = null;
  const show = (text: string): void => {
    button.textContent = text;
  };
  button.type = "button";
  button.className = "pb-download";
  button.setAttribute("aria-label", `Download ${path.textContent}`);
  button.title = "Download (click again to stop)";
  show("Download");
  button.addEventListener("click", async () => {
    if (running) return running.abort(new Error("Stopped."));
    running = new AbortController();
    show("…");
    try {
      await save(model, token, show, running.signal);
      show("Download");
    } catch (error) {
      show(`${(error as Error).message} Try again`);
    }
    running = null;
  });
  path.parentElement?.append(button);
  return button;
}

export default () => {
  let stop = (): void => undefined;

  function initialize({ model }: { model: Model }): () => void {
    const buttons = new Set<HTMLButtonElement>();
    let frame = 0;
    const update = (): void => {
      frame = 0;
      const tokens = new Set(model.get("tokens"));
      for (const path of document.querySelectorAll<HTMLElement>("code[data-pybuild-download]")) {
        const token = path.dataset.pybuildDownload;
        if (token === undefined || !tokens.has(token.split(" ")[0] ?? "")) continue;
        if (!path.parentElement?.querySelector(".pb-download")) buttons.add(addButton(model, path, token));
      }
    };
    const later = (): void => {
      frame ||= window.setTimeout(update, 50);
    };
    const observer = new MutationObserver(later);
    observer.observe(document.body, { childList: true, subtree: true });
    model.on("change:tokens", later);
    update();
    stop = () => {
      observer.disconnect();
      window.clearTimeout(frame);
      for (const button of buttons) button.remove();
    };
    // The kernel has ended or restarted, and does not know these files any more.
    model.on("destroy", () => stop());
    return () => stop();
  }

  return { initialize };
};
