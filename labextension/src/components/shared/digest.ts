// A digest in the twelve digits that people read, with a button that copies the whole, and one that opens its object.

import { fill, h } from "../../dom";
import { shortDigest } from "../../words";
import { icon } from "./icons";

/** Return a button that copies `text`, which a function may supply at the press, and says so. */
export function copyButton(text: string | (() => string), subject: string): HTMLButtonElement {
  const button = h("button", {
    type: "button",
    class: "pbr-copy",
    "aria-label": `Copy ${subject}`,
    title: `Copy ${subject}`,
    onclick: () => void copy(),
  });
  const idle = (): void => fill(button, icon("copy"));
  async function copy(): Promise<void> {
    const isCopied = await toClipboard(typeof text === "string" ? text : text());
    fill(
      button,
      icon(isCopied ? "check" : "cross"),
      h("span", { class: "pbr-hidden", role: "status" }, isCopied ? "Copied" : "Not copied"),
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
    // A page without https cannot write to the clipboard, but it can copy a selection.
    const area = h("textarea", { class: "pbr-hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied;
  }
}

/** Return a digest with its copy button. A press on the digits calls `open`; without that they are text. */
export function digestView(digest: string, subject: string, open?: () => void): HTMLElement {
  const digits = open
    ? h(
        "button",
        {
          type: "button",
          class: "pbr-link pbr-code",
          title: digest,
          "aria-label": `Open ${subject} ${shortDigest(digest)}`,
          onclick: open,
        },
        shortDigest(digest),
      )
    : h("code", { title: digest }, shortDigest(digest));
  return h("span", { class: "pbr-digest" }, digits, copyButton(digest, `digest of ${subject}`));
}
