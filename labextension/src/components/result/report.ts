// The reason why a build failed: the sentence, the lines of the Dockerfile that it is about, and the next step.

import { h } from "../../dom";
import type { Child } from "../../dom";
import type { Summary } from "../../model";
import { abridged } from "../../words";
import { dockerfile } from "../shared/code";
import { offers, way } from "./offers";
import type { View } from "./view";

const AROUND = 2; // lines shown before and after the marked ones
const LONGEST = 400; // letters of a message that are shown before it is opened

/** Return a sentence, with the words between backticks as code. */
const withCode = (sentence: string): Child[] =>
  sentence.split("`").map((part, index) => (index % 2 ? h("code", null, part) : part));

function excerpt(summary: Summary): Child {
  const { error_line: first = 0, error_end: last = first } = summary;
  const lines = (summary.dockerfile ?? "").trimEnd().split("\n");
  if (first < 1 || first > lines.length) return null;
  const from = Math.max(1, first - AROUND);
  const to = Math.min(lines.length, Math.max(first, last) + AROUND);
  const rows = lines.slice(from - 1, to).map((line, index) => {
    const number = from + index;
    const isMarked = number >= first && number <= Math.max(first, last);
    return h(
      "li",
      { class: isMarked ? "pbr-marked" : null },
      h("span", { class: "pbr-line-number", "aria-hidden": "true" }, number),
      isMarked ? h("mark", null, dockerfile(line)) : dockerfile(line),
    );
  });
  return h("ol", { class: "pbr-excerpt", "aria-label": `Dockerfile, line ${first}` }, rows);
}

/** Return the ways to the files of the failed step, which only a kernel can tell to be there still. */
const ways = (view: View, ref: string): HTMLElement =>
  offers(view, ref, (kernel) => (kernel ? [way("terminal", ref, "terminal", "Terminal here"), way("files", ref, "folder", "Files here")] : null));

export function report(view: View): HTMLElement | null {
  const { summary } = view;
  if (!summary.error) return null;
  const message = abridged(summary.error, LONGEST);
  return h(
    "div",
    { class: `pbr-report${summary.canceled ? " pbr-calm" : ""}` },
    h("p", { class: "pbr-message", title: message === summary.error ? null : summary.error }, message),
    excerpt(summary),
    summary.kept ? ways(view, summary.kept) : null,
    summary.hint ? h("p", { class: "pbr-hint" }, summary.canceled ? null : h("span", { "aria-hidden": "true" }, "→ "), withCode(summary.hint)) : null,
  );
}
