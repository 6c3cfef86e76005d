// Placeholders for content that is not there yet, or cannot be: a wait for the kernel, an error, or no kernel.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import { plural } from "../../words";

const BUSY = 700; // milliseconds without an answer after which the kernel counts as busy

export const note = (...children: Child[]): HTMLElement => h("p", { class: "pbr-note" }, children);

/** Return the sentence for a place where a running kernel would show more. */
export const needsKernel = (subject: string): HTMLElement =>
  note(
    `${subject} is not kept in the notebook. To see it, run %load_ext pybuild_magic while the store still has the image, or run this cell again.`,
  );

/** Return the sentence that a tree is incomplete. */
export const notKept = (count: number): HTMLElement =>
  note(`The notebook keeps the largest directories. ${plural(count, "more entry")} are only counted.`);

/**
 * Fill `place` with the result of `work`; meanwhile show that it waits, and afterwards why it failed. Answers may come in
 * any order, and only the last request counts: if `work` resolves to a function, it is called only for that one.
 * Resolves to false when the work failed.
 */
export async function fillWith(place: HTMLElement, work: Promise<Child | (() => Child)>): Promise<boolean> {
  place.setAttribute("aria-busy", "true");
  const turn = String(Number(place.dataset["turn"] ?? 0) + 1);
  place.dataset["turn"] = turn;
  const mine = (): boolean => place.dataset["turn"] === turn;
  const soon = setTimeout(() => mine() && fill(place, note("Loading…")), 120);
  const timer = setTimeout(
    () => mine() && fill(place, note("Waiting for the kernel, which is busy…")),
    BUSY,
  );
  try {
    const content = await work;
    if (mine()) fill(place, typeof content === "function" ? content() : content);
  } catch (error) {
    if (!mine()) return true;
    fill(
      place,
      h("p", { class: "pbr-note pbr-bad", role: "alert" }, error instanceof Error ? error.message : String(error)),
    );
    return false;
  } finally {
    clearTimeout(soon);
    clearTimeout(timer);
    if (mine()) place.removeAttribute("aria-busy");
  }
  return true;
}
