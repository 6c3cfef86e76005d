// The result as a widget: the document comes once, and the kernel is asked over the widget's own channel.

import type { AnyModel } from "@anywidget/types";
import { renderResult } from "../components/result";
import { summaryOf } from "../document";
import type { Answer, Kernel } from "../model";

interface State {
  summary: unknown;
}

interface Reply {
  id: string;
  result?: unknown;
  error?: string;
}

/** The bytes alone, where the message's own buffer has them and nothing else; a copy where it has more. */
const bytes = (view: DataView<ArrayBuffer>): ArrayBuffer =>
  view.byteLength === view.buffer.byteLength
    ? view.buffer
    : view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

function kernelOf(model: AnyModel<State>, token: string): { kernel: Kernel; dispose: () => void } {
  const waiting = new Map<string, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  const listen = (reply: Reply, buffers: DataView<ArrayBuffer>[]): void => {
    const asked = waiting.get(reply.id);
    if (!asked) return;
    waiting.delete(reply.id);
    if (reply.error) asked.reject(new Error(reply.error));
    else asked.resolve({ result: reply.result, buffers: buffers.map(bytes) });
  };
  model.on("msg:custom", listen);
  const kernel: Kernel = {
    token,
    ask: (method, params) =>
      new Promise((resolve, reject) => {
        const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
        waiting.set(id, { resolve, reject });
        model.send({ id, token, method, params });
      }),
  };
  return { kernel, dispose: () => model.off("msg:custom", listen) };
}

function render({ model, el }: { model: AnyModel<State>; el: HTMLElement }): () => void {
  const summary = summaryOf(model.get("summary"));
  const { kernel, dispose } = kernelOf(model, summary.fetch ?? "");
  const drawn = renderResult(el, summary, summary.fetch ? kernel : null);
  return () => {
    drawn.dispose();
    dispose();
  };
}

export default { render };
