// Downloads from the kernel to a file on the reader's machine: in chunks, with a progress bar and a stop button.

import { fill, h } from "../../dom";
import type { Kernel } from "../../model";
import { humanBytes } from "../../words";
import { icon } from "./icons";

const AHEAD = 4; // chunks that are requested ahead
const STREAMED = 2e9; // bytes of a file that is written straight to disk, where the browser can do that; a smaller one becomes a blob
const SHOWN_EVERY = 100; // milliseconds between two updates of the bar

interface Chunk {
  name: string;
  size: number;
  version: string;
  count: number;
  data: ArrayBuffer;
}

interface Sink {
  put: (data: ArrayBuffer) => Promise<void>;
  close: (name: string) => Promise<void>;
  abort: () => Promise<void>;
}

interface Writable {
  write: (data: ArrayBuffer) => Promise<void>;
  close: () => Promise<void>;
  abort: () => Promise<void>;
}

interface Picker {
  showSaveFilePicker?: (options: { suggestedName: string }) => Promise<{ createWritable: () => Promise<Writable> }>;
}

/** Let the reader choose a file, which takes the bytes without keeping them in memory; null where a page cannot. */
async function fileSink(name: string): Promise<Sink | null> {
  const picker = (window as Picker).showSaveFilePicker;
  if (!picker) return null;
  let file: Writable;
  try {
    const handle = await picker.call(window, { suggestedName: name });
    file = await handle.createWritable();
  } catch (error) {
    // A reader who closes the dialog wants no file; a page in a frame of another one may not ask.
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    return null;
  }
  // eslint-disable-next-line no-restricted-syntax -- a file's, not a document's
  const put = (data: ArrayBuffer): Promise<void> => file.write(data);
  return { put, close: () => file.close(), abort: () => file.abort() };
}

/** Return a sink that collects blobs, which the browser keeps wherever it has room. */
function blobSink(): Sink {
  // Do not nest them: under load, Chromium loses a blob inside a blob whose bytes have not arrived.
  let parts: Blob[] = [];
  return {
    put: (data) => Promise.resolve(void parts.push(new Blob([data]))),
    async close(name) {
      const body = new Blob(parts);
      await body
        .slice(0, 1)
        .arrayBuffer()
        .catch(() => Promise.reject(new Error("The browser could not store the file: it may be out of space.")));
      const link = h("a", { href: URL.createObjectURL(body), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    },
    abort: () => Promise.resolve(void (parts = [])),
  };
}

export interface Request {
  kernel: Kernel;
  method: string;
  params: Record<string, unknown>;
  name: string;
  size: number;
  signal: AbortSignal;
  progress: (received: number, size: number) => void;
}

/** Settle as `work` does, or reject as soon as the signal is aborted. A listener that stayed would keep the answer. */
function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", stop, { once: true });
    work.finally(() => signal.removeEventListener("abort", stop)).then(resolve, reject);
  });
}

async function ask(request: Request, offset: number): Promise<Chunk> {
  const answer = request.kernel.ask(request.method, { ...request.params, offset });
  const { result, buffers } = await unlessAborted(request.signal, answer);
  const data = buffers[0];
  if (!data) throw new Error("The kernel sent no bytes.");
  return { ...(result as Omit<Chunk, "data">), data };
}

/** Fetch a file of any size; resolves to its bytes. Rejects when the file changes meanwhile, or when it is stopped. */
export async function download(request: Request): Promise<number> {
  const { signal } = request;
  const sink = (request.size >= STREAMED ? await fileSink(request.name) : null) ?? blobSink();
  try {
    const first = await ask(request, 0);
    await sink.put(first.data);
    let received = first.data.byteLength;
    const requests: Promise<Chunk>[] = [];
    for (let next = first.count; received < first.size;) {
      for (; requests.length < AHEAD && next < first.size; next += first.count) {
        const chunk = ask(request, next);
        chunk.catch(() => undefined); // of several that fail together, the first one is reported
        requests.push(chunk);
      }
      request.progress(received, first.size);
      const chunk = await requests.shift();
      signal.throwIfAborted();
      const expected = Math.min(first.count, first.size - received);
      if (chunk?.version !== first.version || chunk.data.byteLength !== expected)
        throw new Error("The file changed while it was read.");
      await sink.put(chunk.data);
      received += expected;
    }
    signal.throwIfAborted();
    await sink.close(first.name || request.name);
    return received;
  } catch (error) {
    await sink.abort().catch(() => undefined);
    throw error;
  }
}

export interface DownloadSpec {
  kernel: Kernel;
  method: string;
  params: Record<string, unknown>;
  name: string;
  size: number;
}

/** Return a button that turns into a bar with bytes, rate and a stop button, and reports the outcome. */
export function downloadButton(spec: DownloadSpec): { node: HTMLElement; start: () => void } {
  const button = h(
    "button",
    { type: "button", class: "pbr-button", "aria-label": `Download ${spec.name}`, onclick: () => void start() },
    icon("download"),
    "Download",
  );
  const bar = h(
    "div",
    {
      role: "progressbar",
      class: "pbr-bar",
      "aria-label": `Download of ${spec.name}`,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    },
    h("div"),
  );
  const text = h("span", { class: "pbr-dim", role: "status" });
  const stop = h(
    "button",
    { type: "button", class: "pbr-button", "aria-label": `Stop the download of ${spec.name}` },
    icon("stop"),
    "Stop",
  );
  const node = h("div", { class: "pbr-download" }, button, text);
  let running: AbortController | null = null;

  async function start(): Promise<void> {
    if (running) return;
    const control = (running = new AbortController());
    const began = performance.now();
    let lastShown = 0;
    stop.onclick = () => control.abort(new Error("Stopped."));
    fill(node, bar, text, stop);
    progress(0, spec.size);
    fill(text, "Waiting for the kernel…");
    try {
      const size = await download({
        ...spec,
        signal: control.signal,
        progress(received, total) {
          const now = performance.now();
          if (now - lastShown < SHOWN_EVERY) return;
          lastShown = now;
          progress(received, total);
          fill(text, `${humanBytes(received)} of ${humanBytes(total)} · ${humanBytes((1000 * received) / (now - began))}/s`);
        },
      });
      fill(text, `${humanBytes(size)} downloaded`);
    } catch (error) {
      fill(
        text,
        error instanceof DOMException && error.name === "AbortError"
          ? "Not downloaded."
          : error instanceof Error
            ? error.message
            : String(error),
      );
    }
    running = null;
    fill(node, button, text);
  }

  function progress(received: number, total: number): void {
    const percent = total ? Math.floor((100 * received) / total) : 0;
    bar.setAttribute("aria-valuenow", String(percent));
    (bar.firstElementChild as HTMLElement).style.width = `${percent}%`;
  }

  return { node, start: () => void start() };
}
