// Makes a cell that begins with %%build a Dockerfile to the editor: its colours, its help, and what is wrong with it.

import { StreamLanguage, syntaxTree } from "@codemirror/language";
import { linter } from "@codemirror/lint";
import type { Diagnostic } from "@codemirror/lint";
import { Compartment, EditorState, Prec, StateEffect } from "@codemirror/state";
import type { Extension, Text } from "@codemirror/state";
import { EditorView, ViewPlugin, hoverTooltip } from "@codemirror/view";
import type { Tooltip } from "@codemirror/view";
import { h } from "../dom";
import { dockerfile, isBuildCell } from "./dockerfile";
import { REFERENCE, helpFor } from "./help";

const DELAY = 400; // milliseconds without a key after which a cell is checked

/** What the kernel finds in a cell: lines from 1 of the cell's text, columns from 0, `end` after the last one. */
export interface Finding {
  line: number;
  column: number;
  end: number;
  severity: "error" | "warning" | "info";
  message: string;
  rule?: string;
  url?: string;
}

/** Checks the text of a cell; null when nobody can. */
export type Check = (text: string) => Promise<Finding[] | null>;

const language = StreamLanguage.define(dockerfile);
const again = StateEffect.define<null>();
const views = new Set<EditorView>();

/** Checks all cells again: something else than their text has changed. */
export function checkAgain(): void {
  for (const view of views) view.dispatch({ effects: again.of(null) });
}

const known = ViewPlugin.define((view) => {
  views.add(view);
  return { destroy: () => views.delete(view) };
});

const isBuild = (text: Text): boolean => isBuildCell(text.sliceString(0, 1000));

function toDiagnostic(text: Text, finding: Finding): Diagnostic | null {
  if (finding.line < 1 || finding.line > text.lines) return null;
  const line = text.line(finding.line);
  const indent = /^\s*/.exec(line.text)?.[0].length ?? 0;
  const from = line.from + Math.min(finding.column > 0 ? finding.column : indent, line.length);
  const to = finding.end > finding.column ? Math.min(line.from + finding.end, line.to) : line.to;
  const url = finding.url?.startsWith("https://") ? finding.url : null;
  const source = finding.rule ? { source: finding.rule } : {};
  return {
    from,
    to: Math.max(from, to),
    severity: finding.severity,
    message: finding.message,
    ...source,
    markClass: `pb-${finding.severity}`,
    renderMessage: () =>
      h(
        "span",
        { class: "pb-lint" },
        finding.message,
        url && h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, `About ${finding.rule ?? "this"}`),
      ),
  };
}

function squiggles(check: Check): Extension {
  return linter(
    async (view) => {
      const text = view.state.doc;
      const findings = (await check(text.toString()).catch(() => null)) ?? [];
      return findings.flatMap((finding) => toDiagnostic(text, finding) ?? []);
    },
    { delay: DELAY, needsRefresh: (update) => update.transactions.some((one) => one.effects.some((effect) => effect.is(again))) },
  );
}

/** The instruction that a line belongs to: the one of the last line before it that begins with one. */
function instructionAt(state: EditorState, position: number): string {
  for (let number = state.doc.lineAt(position).number; number > 0; number--) {
    const line = state.doc.line(number);
    const word = /^\s*(?:ONBUILD\s+)?([A-Za-z]+)/i.exec(line.text);
    const node = word && syntaxTree(state).resolveInner(line.from + (word[0].length - (word[1]?.length ?? 0)), 1);
    if (word?.[1] && node?.name === "keyword") return word[1].toUpperCase();
  }
  return "";
}

const help = hoverTooltip((view, position, side): Tooltip | null => {
  const line = view.state.doc.lineAt(position);
  const words = [...line.text.matchAll(/--[\w-]+|[A-Za-z]+/g)];
  const word = words.find((one) => line.from + one.index <= position && position <= line.from + one.index + one[0].length);
  if (!word) return null;
  const [from, to] = [line.from + word.index, line.from + word.index + word[0].length];
  if ((from === position && side < 0) || (to === position && side > 0)) return null;
  const name = syntaxTree(view.state).resolveInner(from, 1).name;
  if (!["keyword", "attributeName", "attribute"].includes(name)) return null;
  const instruction = instructionAt(view.state, position);
  const found = helpFor(instruction, word[0]);
  if (!found) return null;
  const anchor = (word[0].startsWith("-") ? instruction : word[0]).toLowerCase();
  return {
    pos: from,
    end: to,
    above: true,
    create: () => ({
      dom: h(
        "div",
        { class: "pb-help" },
        h("code", null, found.usage),
        h("p", null, found.text),
        h("a", { href: `${REFERENCE}#${anchor}`, target: "_blank", rel: "noopener noreferrer" }, "Reference"),
      ),
    }),
  };
});

/** The extension of an editor that begins with `text`; it does nothing until that begins with %%build. */
export function buildCells(text: string, check: Check): Extension {
  const compartment = new Compartment();
  const active = Prec.highest([language, squiggles(check), help, known, EditorView.editorAttributes.of({ class: "pb-build-cell" })]);
  return [
    compartment.of(isBuildCell(text) ? active : []),
    // In the transaction that makes the text a Dockerfile, so that no key shows it in other colours.
    EditorState.transactionExtender.of((transaction) => {
      const wanted = isBuild(transaction.newDoc);
      const isActive = compartment.get(transaction.startState) === active;
      return wanted === isActive ? null : { effects: compartment.reconfigure(wanted ? active : []) };
    }),
  ];
}
