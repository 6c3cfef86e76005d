// The packages of an image in a table with a search; only the rows in sight are drawn.

import { fill, h } from "../../dom";
import type { Software } from "../../model";
import { plural } from "../../words";
import { icon } from "../shared/icons";

const ROW = 24; // pixels: see .pbr-package
const BEYOND = 10; // rows that are drawn above and below those in sight
const TITLES = ["Package", "Version", "Type", "Licence", "Found in"];

/** Return the indices of the packages that contain all of the words, in any case. */
export function matching(packages: Software[], query: string): number[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return packages.flatMap((software, index) => {
    const text = software.join("\n").toLowerCase();
    return words.every((word) => text.includes(word)) ? [index] : [];
  });
}

export interface PackageTable {
  node: HTMLElement;
  set: (packages: Software[]) => void;
}

export function packageTable(label: string): PackageTable {
  let packages: Software[] = [];
  let rows: number[] = [];
  let frame = 0;
  const head = h("div", { role: "row", class: "pbr-package pbr-package-titles", "aria-rowindex": 1 }, TITLES.map((title) => h("span", { role: "columnheader" }, title)));
  const rowGroup = h("div", { role: "rowgroup" });
  const inner = h("div", { class: "pbr-packages-in", role: "table", "aria-label": label }, h("div", { role: "rowgroup", class: "pbr-package-head" }, head), rowGroup);
  const none = h("p", { class: "pbr-dim pbr-packages-none", hidden: true }, "No package matches.");
  const box = h("div", { class: "pbr-packages", tabindex: 0, role: "group", "aria-label": `${label}, scrolled` }, inner);
  const status = h("span", { class: "pbr-dim pbr-found", role: "status" });
  const input = h("input", { type: "search", class: "pbr-input", placeholder: "Name, version, type, licence, file", "aria-label": "Search the packages", spellcheck: "false" });

  function draw(): void {
    frame = 0;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - BEYOND);
    const last = Math.min(rows.length, Math.ceil((box.scrollTop + (box.clientHeight || 400)) / ROW) + BEYOND);
    fill(
      rowGroup,
      rows.slice(first, last).map((place, index) => {
        const cells = packages[place] ?? [];
        const line = h("div", { role: "row", class: "pbr-package", "aria-rowindex": first + index + 2 }, cells.map((text) => h("span", { role: "cell", title: text || null }, text)));
        line.style.transform = `translateY(${(first + index + 1) * ROW}px)`;
        return line;
      }),
    );
  }

  function search(): void {
    rows = matching(packages, input.value);
    inner.style.height = `${(rows.length + 1) * ROW}px`;
    inner.setAttribute("aria-rowcount", String(rows.length + 1));
    none.hidden = rows.length > 0;
    box.hidden = rows.length === 0;
    fill(status, input.value ? `${rows.length.toLocaleString("en-US")} of ${plural(packages.length, "package")}` : plural(packages.length, "package"));
    box.scrollTop = 0;
    draw();
  }

  input.addEventListener("input", search);
  input.addEventListener("keydown", (event) => event.stopPropagation());
  box.addEventListener("scroll", () => (frame ||= requestAnimationFrame(draw)), { passive: true });
  return {
    node: h("div", null, h("div", { class: "pbr-tools" }, h("label", { class: "pbr-search" }, icon("search"), input), status), box, none),
    set(next) {
      packages = next;
      search();
    },
  };
}
