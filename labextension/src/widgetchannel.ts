// The kernel of a widget: questions over the widget's own channel, each of which is answered once, or refused.

import type { AnyModel } from "@anywidget/types";
import { bufferOf } from "./bytes";
import type { Answer, Kernel } from "./model";

interface Reply {
  id: string;
  result?: unknown;
  error?: string;
}

/** Return the way to ask a widget's kernel about the result with this token, until it is disposed. */
export function kernelOf(model: AnyModel, token: string): { kernel: Kernel; dispose: () => void } {
  const questions = new Map<string, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  const listen = (reply: Reply, buffers: DataView[]): void => {
    const question = questions.get(reply.id);
    if (!question) return;
    questions.delete(reply.id);
    if (reply.error) question.reject(new Error(reply.error));
    else question.resolve({ result: reply.result, buffers: buffers.map(bufferOf) });
  };
  model.on("msg:custom", listen);
  const kernel: Kernel = {
    token,
    ask: (method, params) =>
      new Promise((resolve, reject) => {
        const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
        questions.set(id, { resolve, reject });
        model.send({ id, token, method, params });
      }),
  };
  return { kernel, dispose: () => model.off("msg:custom", listen) };
}
