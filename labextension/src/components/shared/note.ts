// What stands in for something that is not there (yet): waiting for the kernel, an error, or no kernel at all.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import { plural } from "../../words";

const BUSY = 700; // milliseconds after which a kernel that does not answer is at something else

export const note = (...children: Child[]): HTMLElement => h("p", { class: "pbr-note" }, children);

/** A sentence where a running kernel would show more. */
export const needsKernel = (what: string): HTMLElement =>
  note(
    `${what} is not kept in the notebook. To see it, run %load_ext pybuild_magic while the store still has the image, or run this cell again.`,
  );

/** That a tree is not whole. */
export const notKept = (more: number): HTMLElement =>
  note(`The notebook keeps the largest directories. ${plural(more, "more entry")} are only counted.`);

/**
 * Fills `place` with what `work` makes; says that it waits when that takes time, and why it failed. Answers may come in
 * any order, and only the last thing asked for counts: a function that `work` gives is called for that alone. False
 * when that failed.
 */
export async function fillWith(place: HTMLElement, work: Promise<Child | (() => Child)>): Promise<boolean> {
  place.setAttribute("aria-busy", "true");
  const turn = String(Number(place.dataset["turn"] ?? 0) + 1);
  place.dataset["turn"] = turn;
  const mine = (): boolean => place.dataset["turn"] === turn;
  const soon = setTimeout(() => mine() && fill(place, note("Loading…")), 120);
  const late = setTimeout(
    () => mine() && fill(place, note("Waiting for the kernel, which is busy…")),
    BUSY,
  );
  try {
    const made = await work;
    if (mine()) fill(place, typeof made === "function" ? made() : made);
  } catch (error) {
    if (!mine()) return true;
    fill(
      place,
      h("p", { class: "pbr-note pbr-bad", role: "alert" }, error instanceof Error ? error.message : String(error)),
    );
    return false;
  } finally {
    clearTimeout(soon);
    clearTimeout(late);
    if (mine()) place.removeAttribute("aria-busy");
  }
  return true;
}
