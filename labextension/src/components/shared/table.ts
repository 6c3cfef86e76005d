// A plain table: titles and rows of cells, which scrolls sideways on a narrow page.

import { h } from "../../dom";
import type { Child } from "../../dom";

export interface Column {
  title: string;
  /** "num" is aligned right; "wide" takes the remaining width. */
  kind?: "num" | "wide";
}

export function table(label: string, columns: Column[], rows: Child[][]): HTMLElement {
  const cls = (index: number): string | null => (columns[index]?.kind ? `pbr-${columns[index]?.kind ?? ""}` : null);
  const head = h(
    "tr",
    null,
    columns.map((column, index) => h("th", { scope: "col", class: cls(index) }, column.title)),
  );
  const body = rows.map((cells) =>
    h(
      "tr",
      null,
      cells.map((cell, index) => h("td", { class: cls(index) }, cell)),
    ),
  );
  return h(
    "div",
    { class: "pbr-scroll" },
    h("table", { class: "pbr-table", "aria-label": label }, h("thead", null, head), h("tbody", null, body)),
  );
}

/** Return a table of names and values, such as environment variables. */
export function facts(label: string, rows: [title: Child, value: Child][]): HTMLElement {
  return h(
    "table",
    { class: "pbr-table pbr-facts", "aria-label": label },
    h(
      "tbody",
      null,
      rows.map(([title, value]) => h("tr", null, h("th", { scope: "row" }, title), h("td", null, value))),
    ),
  );
}
