// A cell that begins with %%build as a Dockerfile in the editor: colours, help, and the faults that the kernel reports.

import { LanguageSupport, StreamLanguage, syntaxTree } from "@codemirror/language";
import { linter } from "@codemirror/lint";
import type { Diagnostic } from "@codemirror/lint";
import { Compartment, EditorState, Prec, StateEffect } from "@codemirror/state";
import type { Extension, Text } from "@codemirror/state";
import { EditorView, ViewPlugin, hoverTooltip } from "@codemirror/view";
import type { Tooltip } from "@codemirror/view";
import { h } from "../dom";
import { dockerfile, isBuildCell, isScriptCell } from "../components/shared/dockerfile";
import { REFERENCE, helpFor } from "./help";

const DELAY = 400; // milliseconds after the last key until a cell is checked

/** A fault of a cell: its line from 1 in the cell's text, and its columns from 0, without `end`. */
export interface Finding {
  line: number;
  column: number;
  end: number;
  severity: "error" | "warning" | "info";
  message: string;
  rule?: string;
  url?: string;
}

/** Return the faults of the text of a cell; null when no kernel can tell. */
export type Check = (text: string) => Promise<Finding[] | null>;

const language = StreamLanguage.define(dockerfile);
/** The language of a Dockerfile in a file, and in a code block of a text. */
export const dockerfileSupport = new LanguageSupport(language);
const recheck = StateEffect.define<null>();
const views = new Set<EditorView>();

/** Check all cells again, because something other than their text has changed. */
export function checkAgain(): void {
  for (const view of views) view.dispatch({ effects: recheck.of(null) });
}

const registration = ViewPlugin.define((view) => {
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
    { delay: DELAY, needsRefresh: (update) => update.transactions.some((transaction) => transaction.effects.some((effect) => effect.is(recheck))) },
  );
}

/** Return the instruction that a line belongs to: that of the nearest line, this or above, that begins with one. */
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
  if (isScriptCell(view.state.sliceDoc(0, 1000))) return null;
  const line = view.state.doc.lineAt(position);
  const words = [...line.text.matchAll(/--[\w-]+|[A-Za-z]+/g)];
  const word = words.find((match) => line.from + match.index <= position && position <= line.from + match.index + match[0].length);
  if (!word) return null;
  const [from, to] = [line.from + word.index, line.from + word.index + word[0].length];
  if ((from === position && side < 0) || (to === position && side > 0)) return null;
  const name = syntaxTree(view.state).resolveInner(from, 1).name;
  if (!["keyword", "attributeName", "attribute"].includes(name)) return null;
  const instruction = instructionAt(view.state, position);
  const topic = helpFor(instruction, word[0]);
  if (!topic) return null;
  const anchor = (word[0].startsWith("-") ? instruction : word[0]).toLowerCase();
  return {
    pos: from,
    end: to,
    above: true,
    create: () => ({
      dom: h(
        "div",
        { class: "pb-help" },
        h("code", null, topic.usage),
        h("p", null, topic.text),
        h("a", { href: `${REFERENCE}#${anchor}`, target: "_blank", rel: "noopener noreferrer" }, "Reference"),
      ),
    }),
  };
});

/** Return the extension of an editor that begins with `text`; it is idle while the text does not begin with %%build. */
export function buildCells(text: string, check: Check): Extension {
  const compartment = new Compartment();
  const active = Prec.highest([language, squiggles(check), help, registration, EditorView.editorAttributes.of({ class: "pb-build-cell" })]);
  return [
    compartment.of(isBuildCell(text) ? active : []),
    // In the same transaction as the change of the text, so that no key press shows the old colours.
    EditorState.transactionExtender.of((transaction) => {
      const shouldBeActive = isBuild(transaction.newDoc);
      const isActive = compartment.get(transaction.startState) === active;
      return shouldBeActive === isActive ? null : { effects: compartment.reconfigure(shouldBeActive ? active : []) };
    }),
  ];
}
