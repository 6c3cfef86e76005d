// Puts a button next to the path of each output that the kernel can hand out, and fetches the bytes in chunks.

import type { AnyModel } from "@anywidget/types";
import { humanBytes } from "../words";

interface State {
  tokens: string[];
}
type Model = AnyModel<State>;

interface Chunk {
  name: string;
  size: number;
  version: string;
  count: number;
}
interface Reply {
  id: string;
  error?: string;
  result?: Chunk;
}
type Bytes = Chunk & { data: DataView<ArrayBuffer> };

const BUSY = 700; // milliseconds after which a kernel that does not answer is at something else
const AHEAD = 4; // chunks that are asked for before they are needed

// Asks for one chunk of "TOKEN output:N" and waits for it, however long the kernel is at something else.
function ask(model: Model, offered: string, offset: number, signal: AbortSignal): Promise<Bytes> {
  const [token, of] = offered.split(" ");
  const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
  return new Promise((resolve, reject) => {
    const done = (): void => model.off("msg:custom", listen);
    const listen = (reply: Reply, buffers: DataView[]): void => {
      if (reply.id !== id) return;
      done();
      if (reply.result) resolve({ ...reply.result, data: buffers[0] as DataView<ArrayBuffer> });
      else reject(new Error(reply.error));
    };
    signal.addEventListener("abort", () => {
      done();
      reject(new Error("Stopped"));
    });
    model.on("msg:custom", listen);
    model.send({ id, token, method: "download", params: { of, offset } });
  });
}

async function download(
  model: Model,
  token: string,
  show: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const late = window.setTimeout(() => show("Waiting for the kernel…"), BUSY);
  const first = await ask(model, token, 0, signal).finally(() => window.clearTimeout(late));
  const asked: Promise<Bytes>[] = [];
  const parts = [new Blob([first.data])];
  let done = first.count;
  for (let next = first.count; done < first.size; ) {
    for (; asked.length < AHEAD && next < first.size; next += first.count) {
      const chunk = ask(model, token, next, signal);
      chunk.catch(() => undefined); // of several that fail together, the first one is told
      asked.push(chunk);
    }
    show(`${Math.floor((100 * done) / first.size)} % of ${humanBytes(first.size)}`);
    const chunk = await asked.shift();
    const expected = Math.min(first.count, first.size - done);
    if (!chunk || chunk.version !== first.version || chunk.count !== expected) {
      throw new Error("The file changed while it was read.");
    }
    parts.push(new Blob([chunk.data])); // which the browser keeps for the page, where it has room
    done += chunk.count;
  }
  const body = new Blob(parts);
  await body
    .slice(0, 1)
    .arrayBuffer()
    .catch(() => Promise.reject(new Error("The browser could not store the file: it may be out of space.")));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(body);
  link.download = first.name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 60000);
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
    if (running) return running.abort();
    running = new AbortController();
    show("…");
    try {
      await download(model, token, show, running.signal);
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
    const look = (): void => {
      frame = 0;
      const tokens = new Set(model.get("tokens"));
      for (const path of document.querySelectorAll<HTMLElement>("code[data-pybuild-download]")) {
        const token = path.dataset.pybuildDownload;
        if (token === undefined || !tokens.has(token.split(" ")[0] ?? "")) continue;
        if (!path.parentElement?.querySelector(".pb-download")) buttons.add(addButton(model, path, token));
      }
    };
    const later = (): void => {
      frame ||= window.setTimeout(look, 50);
    };
    const observer = new MutationObserver(later);
    observer.observe(document.body, { childList: true, subtree: true });
    model.on("change:tokens", later);
    look();
    stop = () => {
      observer.disconnect();
      window.clearTimeout(frame);
      for (const button of buttons) button.remove();
    };
    // The kernel is gone, or was started anew: it knows these files no more.
    model.on("destroy", () => stop());
    return () => stop();
  }

  return { initialize };
};
