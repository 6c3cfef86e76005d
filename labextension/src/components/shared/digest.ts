// A digest in the twelve digits that people read: with a button that copies all of it, and one that opens it.

import { fill, h } from "../../dom";
import { shortDigest } from "../../words";
import { icon } from "./icons";

/** A button that puts `text`, or what it gives then, on the clipboard and says so. */
export function copyButton(text: string | (() => string), what: string): HTMLButtonElement {
  const button = h("button", {
    type: "button",
    class: "pbr-copy",
    "aria-label": `Copy ${what}`,
    title: `Copy ${what}`,
    onclick: () => void copy(),
  });
  const idle = (): void => fill(button, icon("copy"));
  async function copy(): Promise<void> {
    const done = await toClipboard(typeof text === "string" ? text : text());
    fill(
      button,
      icon(done ? "check" : "cross"),
      h("span", { class: "pbr-hidden", role: "status" }, done ? "Copied" : "Not copied"),
    );
    setTimeout(idle, 1500);
  }
  idle();
  return button;
}

async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page without https has no clipboard of its own, but it can copy what is selected.
    const area = h("textarea", { class: "pbr-hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** `open` is what a click on the digits does; without it they are text. */
export function digestView(digest: string, what: string, open?: () => void): HTMLElement {
  const digits = open
    ? h(
        "button",
        {
          type: "button",
          class: "pbr-link pbr-code",
          title: digest,
          "aria-label": `Open ${what} ${shortDigest(digest)}`,
          onclick: open,
        },
        shortDigest(digest),
      )
    : h("code", { title: digest }, shortDigest(digest));
  return h("span", { class: "pbr-digest" }, digits, copyButton(digest, `digest of ${what}`));
}
