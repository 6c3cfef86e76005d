// A result as a widget: the document comes once, and questions go to the kernel over the widget's own channel.

import type { AnyModel } from "@anywidget/types";
import { renderResult } from "../components/result";
import { summaryOf } from "../document";
import { kernelOf } from "../widgetchannel";

interface State {
  summary: unknown;
}

function render({ model, el }: { model: AnyModel<State>; el: HTMLElement }): () => void {
  const summary = summaryOf(model.get("summary"));
  const { kernel, dispose } = kernelOf(model, summary.fetch ?? "");
  const drawing = renderResult(el, summary, summary.fetch ? kernel : null);
  return () => {
    drawing.dispose();
    dispose();
  };
}

export default { render };
