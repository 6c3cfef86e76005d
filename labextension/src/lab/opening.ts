// The rows of tables that %build prints: the image, build or layer that a row names opens by a click or a key.

import { fill, h } from "../dom";
import { fillWith } from "../components/shared/note";
import type { Kernel } from "../model";
import { shortDigest } from "../words";
import { Widget } from "@lumino/widgets";

const MARK = "data-pybuild-open";

/** The actions behind marked words, by the kind that the kernel has written into the mark. */
export interface Openers {
  image: (name: string) => void;
  build: (ref: string) => void;
  layer: (digest: string) => void;
  /** Open a shell in an image, or where a step failed. */
  terminal: (ref: string) => void;
  /** Open the files where a step failed. */
  files: (ref: string) => void;
  /** Let a notebook run in an image. */
  kernel: (image: string) => void;
}

/** The tooltips of the buttons. A failed step has a name only for programs, which is not shown. */
const TITLES: Record<keyof Openers, (name: string) => string> = {
  image: (name) => `Open ${name}`,
  build: (name) => `Open ${name}`,
  layer: (digest) => `Open the layer ${shortDigest(digest)}`,
  terminal: (name) => (name.startsWith("@") ? "Open a terminal where the step failed" : `Open a terminal in ${name}`),
  files: () => "Open the files as the step left them",
  kernel: (name) => `Use ${name} as kernel`,
};

/** Turn marked words into buttons, those on the page now and those that come later. */
export function openRows(root: HTMLElement, openers: Openers): void {
  const upgrade = (within: Element): void => {
    for (const node of [within, ...within.querySelectorAll(`[${MARK}]`)]) {
      const [, kind, name] = /^(image|build|layer|terminal|files|kernel) (.+)$/.exec(node.getAttribute(MARK) ?? "") ?? [];
      if (!name || !(node instanceof HTMLElement) || node.tagName !== "SPAN") continue;
      node.removeAttribute(MARK);
      node.hidden = false;
      const open = (): void => openers[kind as keyof Openers](name);
      const title = TITLES[kind as keyof Openers](name);
      // A word that is styled as a button passes its class on.
      const button = h("button", { type: "button", class: node.className || "pb-opens", title, onclick: open }, ...node.childNodes);
      node.className = "";
      fill(node, button);
    }
  };
  upgrade(root);
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes)
      for (const node of addedNodes) if (node instanceof Element) upgrade(node);
  }).observe(root, { childList: true, subtree: true });
}

/** The log of a build from the history. */
export class BuildLog extends Widget {
  constructor(kernel: Kernel, ref: string) {
    super();
    this.addClass("pb-explorer");
    this.node.tabIndex = -1;
    const place = h("div", { class: "pb-explorer-place pbr" });
    this.node.append(place);
    void fillWith(
      place,
      kernel.ask("build_log", { ref }).then(({ result }) => {
        const { name, text, cut } = result as { name: string; text: string; cut: number };
        const words = `${cut.toLocaleString("en-US")} earlier characters are not shown.`;
        return [
          h("h2", { class: "pbr-title pb-log-title" }, name),
          cut ? h("p", { class: "pbr-note" }, words) : null,
          h("pre", { class: "pbr-pre pb-log", tabindex: 0, role: "region", "aria-label": `Log of ${name}` }, text),
        ];
      }),
    );
  }
}
