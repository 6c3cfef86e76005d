// The widget of a running build. All its views share one store of what the kernel reports.

import type { Model } from "../components/progress/protocol";
import { Store, renderProgress } from "../components/progress/view";

export default () => {
  const store = new Store();

  function initialize({ model }: { model: Model }): void {
    store.take(model.get("logs"));
    model.on("change:logs", () => store.take(model.get("logs")));
    model.on("msg:custom", (content: { canceling?: boolean }) => (store.isCanceling ||= content.canceling === true));
    for (const event of ["change:plan", "change:state"]) model.on(event, () => (store.heard = performance.now()));
  }

  function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    return renderProgress(el, model, store);
  }

  return { initialize, render };
};
