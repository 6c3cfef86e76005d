// The Steps tab: the rows of the live card at the end of the build, each with its log.

import { h } from "../../dom";
import type { Vertex } from "../../model";
import { nameParts, plural, shorten } from "../../words";
import { Log } from "../progress/log";
import type { Cells, PlanStep } from "../progress/protocol";
import { Row } from "../progress/row";
import { Group, groupName } from "../progress/view";
import type { Panel } from "../shared/tabs";
import { keptLog } from "./loglines";
import { stateOf } from "./step";
import type { View } from "./view";

const BRIEF = 0.05; // seconds from which an internal step has a row
const PHASES: Record<string, number> = { internal: 0, export: 2 };

/** Return the messages that the live card would receive about a step. */
function planStep({ digest, name }: Vertex): PlanStep {
  const { text, kind, stage, platform, number, count } = nameParts(name);
  const place = number ? { place: `${number}/${count}`, stage } : {};
  return { digest, text: shorten(text), kind, ...place, ...(platform ? { platform } : {}) };
}

/** Return whether a step has a row: one that prepares the build only if it failed, said something or took long. */
export const isWorthARow = (vertex: Vertex): boolean =>
  nameParts(vertex.name).kind !== "internal" ||
  Boolean(vertex.error || vertex.log_lines) ||
  (vertex.seconds ?? 0) >= BRIEF;

/** Return steps by stage: preparations first, then stages in the order in which they began, and exports last. */
export function byStage(vertexes: Vertex[]): { vertex: Vertex; step: PlanStep }[][] {
  const groups = new Map<string, { vertex: Vertex; step: PlanStep }[]>();
  for (const vertex of vertexes.filter(isWorthARow)) {
    const step = planStep(vertex);
    const key = JSON.stringify([groupName(step), PHASES[step.kind] ?? 1]);
    groups.set(key, [...(groups.get(key) ?? []), { vertex, step }]);
  }
  const phase = ([first]: { step: PlanStep }[]): number => PHASES[first?.step.kind ?? ""] ?? 1;
  const place = ({ step }: { step: PlanStep }): number => Number(step.place?.split("/")[0] ?? 0);
  return [...groups.values()]
    .sort((a, b) => phase(a) - phase(b))
    .map((members) => members.sort((a, b) => place(a) - place(b)));
}

function logOf(vertex: Vertex): Log {
  const log = new Log();
  const { head, tail, count } = keptLog(vertex);
  log.take([count, [[0, head], [count - tail.length, tail]], ""]);
  return log;
}

export function stepsTab(view: View): Panel {
  const groups = byStage(view.summary.vertexes ?? []).map((members) => {
    const group = new Group(groupName((members[0] as { step: PlanStep }).step));
    const rows = members.map(({ vertex, step }) => {
      const log = logOf(vertex);
      const row = new Row(step, () => log, true);
      const cells: Cells = [stateOf(vertex), vertex.seconds ?? 0, [], [0, 0], view.summary.error ? "" : (vertex.error ?? "")];
      const { head, tail, count } = keptLog(vertex);
      if (count > head.length + tail.length) {
        const words = `All ${plural(count, "line")} in Logs`;
        const open = (): void => void view.show("logs", vertex.digest);
        row.append(h("button", { type: "button", class: "pbr-link pbr-whole", onclick: open }, words));
      }
      row.update(cells, 0);
      return row;
    });
    group.list.append(...rows.map((row) => row.node));
    group.update(rows);
    return group;
  });
  const omitted = view.summary.omitted?.["vertexes"] ?? 0;
  const staged = groups.length > 1 ? " pbp-staged" : "";
  return {
    node: h(
      "div",
      { class: `pbp pbr-steps${staged}` },
      groups.map((group) => group.node),
      omitted ? h("p", { class: "pbr-note" }, `${plural(omitted, "more step")} took less time: see %build history.`) : null,
    ),
  };
}
