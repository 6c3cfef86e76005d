// The facts about a step: instruction, state and time, place, inputs, and output.

import { own } from "../../document";
import { h } from "../../dom";
import type { Child } from "../../dom";
import type { Vertex } from "../../model";
import { humanSeconds, plural, stepName } from "../../words";
import { dockerfile } from "../shared/code";
import { digestView } from "../shared/digest";
import type { IconName } from "../shared/icons";
import { logText } from "../shared/logtext";
import { keptLog } from "./loglines";
import type { View } from "./view";

export type State = "done" | "cached" | "error" | "canceled" | "waiting";
export const STATE_ICONS: Record<State, IconName> = {
  done: "check",
  cached: "cache",
  error: "cross",
  canceled: "stop",
  waiting: "minus",
};

export function stateOf(vertex: Vertex): State {
  if (vertex.error) return vertex.error.endsWith("context canceled") ? "canceled" : "error";
  if (vertex.cached) return "cached";
  return vertex.started ? "done" : "waiting";
}

export const took = (vertex: Vertex): string =>
  ({
    cached: "CACHED",
    canceled: "CANCELED",
    waiting: "not run",
    error: humanSeconds(vertex.seconds ?? 0),
    done: humanSeconds(vertex.seconds ?? 0),
  })[stateOf(vertex)];

const KINDS: Record<string, string> = {
  source: "Source: fetches files",
  exec: "Exec: runs a command",
  file: "File: copies, makes or removes files",
  merge: "Merge: stacks file systems",
  diff: "Diff: compares two file systems",
  internal: "Internal: prepares the build",
  export: "Export: writes the result",
};

const LAST = 20; // lines of the log that are shown among the facts

function log(view: View, vertex: Vertex): Child {
  const { head, tail, count } = keptLog(vertex);
  const lines = [...head, ...tail].slice(-LAST);
  if (!lines.length) return null;
  const label = `Log of ${stepName(vertex.name).text.slice(0, 80)}`;
  const pre = h("pre", { class: "pbr-pre pbr-log", tabindex: 0, "aria-label": label, role: "region" }, logText(lines));
  if (count <= lines.length) return pre;
  const open = (): void => void view.show("logs", vertex.digest);
  return [h("button", { type: "button", class: "pbr-link", onclick: open }, `All ${plural(count, "line")} in Logs`), pre];
}

export function stepDetails(view: View, vertex: Vertex, go?: (digest: string) => void): HTMLElement {
  const name = stepName(vertex.name);
  const failed = Boolean(vertex.error);
  const byDigest = new Map((view.summary.vertexes ?? []).map((step) => [step.digest, step]));
  const inputs = (vertex.inputs ?? []).flatMap((digest) => byDigest.get(digest) ?? []);
  const pairs: [string, Child][] = [["State", `${stateOf(vertex)}${vertex.cached ? "" : `, ${took(vertex)}`}`]];
  const stage = vertex.stage || (name.internal ? "" : name.stage);
  if (stage) pairs.push(["Stage", [stage, name.place ? h("span", { class: "pbr-dim" }, ` step ${name.place}`) : null]]);
  if (vertex.kind) pairs.push(["Kind", own(KINDS, vertex.kind) ?? vertex.kind]);
  if (vertex.line) pairs.push(["Where", h("code", null, `Dockerfile:${vertex.line}`)]);
  pairs.push(["Digest", digestView(vertex.digest, "step")]);
  if (inputs.length) {
    const items = inputs.map((input) => {
      const text = stepName(input.name).text;
      return h(
        "li",
        null,
        go
          ? h("button", { type: "button", class: "pbr-link pbr-code", onclick: () => go(input.digest) }, text)
          : h("code", null, text),
      );
    });
    pairs.push(["Needs", h("ul", { class: "pbr-lines" }, items)]);
  }
  return h(
    "div",
    { class: "pbr-step-details" },
    h("div", { class: "pbr-step-title" }, dockerfile(name.text)),
    failed ? [h("pre", { class: "pbr-pre pbr-error", tabindex: 0 }, vertex.error), log(view, vertex)] : null,
    h(
      "dl",
      { class: "pbr-pairs" },
      pairs.map(([title, value]) => [h("dt", null, title), h("dd", null, value)]),
    ),
    failed ? null : log(view, vertex),
  );
}
