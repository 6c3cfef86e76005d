// A tree of files that draws only the rows in sight: ARIA's tree, with one stop for the tab key and arrows within.

import { own } from "../../document";
import { fill, freshId, h } from "../../dom";
import type { Props } from "../../dom";
import { REST } from "../../model";
import { humanBytes, modeString, plural } from "../../words";
import { SYMLINK } from "./filetree";
import type { FileTree, Filter } from "./filetree";
import { icon } from "./icons";
import type { IconName } from "./icons";

const ROW = 24; // pixels, as in JupyterLab's file browser
const MORE = 8; // rows drawn above and below what is in sight
const CHANGES: Record<string, string> = { A: "added", M: "changed", D: "removed" };
const ICONS: Record<string, IconName> = { "1": "link", "2": "link", "3": "device", "4": "device", "6": "device", [REST]: "plus" };
const OPEN_ENTRIES = 14; // a tree with at most so many entries is shown open

/** What is said of the owner of an entry. */
export type Owner = (uid: number, gid: number) => string;

export interface TreeView {
  node: HTMLElement;
  /** Shows a tree, or of the one it shows what a filter lets through; tells how many entries that are. */
  set: (tree: FileTree, filter: Filter, owner: Owner, isSame?: boolean) => number;
  filter: (filter: Filter) => number;
}

export function treeView(label: string, choose: (tree: FileTree, node: number) => void): TreeView {
  const canvas = h("div", { role: "presentation", class: "pbr-tree-canvas" });
  const node = h("div", { role: "tree", class: "pbr-tree", tabindex: 0, "aria-label": label }, canvas);
  const prefix = freshId("row");
  let tree: FileTree | null = null;
  let owner: Owner = (uid, gid) => `${uid}:${gid}`;
  let open = new Set<number>();
  let closed = new Set<number>(); // while a filter opens all that it lets through
  let shown: Uint8Array | null = null;
  let rows = new Int32Array();
  let active = 0;
  let chosen = -1;
  let frame = 0;

  const isOpen = (at: number): boolean => (shown ? !closed.has(at) : open.has(at));

  function refresh(): void {
    rows = tree ? tree.rows(isOpen, shown) : new Int32Array();
    active = Math.max(0, Math.min(active, rows.length - 1));
    canvas.style.height = `${rows.length * ROW}px`;
    draw();
  }

  function draw(): void {
    frame = 0;
    if (!tree) return;
    const first = Math.max(0, Math.floor(node.scrollTop / ROW) - MORE);
    const last = Math.min(rows.length, Math.ceil((node.scrollTop + (node.clientHeight || 420)) / ROW) + MORE);
    const drawn: HTMLElement[] = [];
    for (let index = first; index < last; index += 1) drawn.push(row(tree, index));
    if (rows.length && (active < first || active >= last)) drawn.push(row(tree, active));
    fill(canvas, drawn);
    if (rows.length) node.setAttribute("aria-activedescendant", `${prefix}-${active}`);
    else node.removeAttribute("aria-activedescendant");
    if (!rows.length)
      fill(
        canvas,
        h("div", { role: "treeitem", class: "pbr-tree-none" }, shown ? "Nothing matches." : "This folder is empty."),
      );
  }

  function row(of: FileTree, index: number): HTMLElement {
    const at = rows[index] ?? 0;
    const entry = of.entry(at);
    const { columns } = of;
    const isDir = of.isDir(at);
    const type = isDir ? "5" : columns.type.charAt(entry);
    const change = of.change(at);
    const depth = of.depth(at);
    const name = of.name(at);
    const line = h(
      "div",
      {
        role: "treeitem",
        id: `${prefix}-${index}`,
        class: `pbr-entry${index === active ? " pbr-active" : ""}${change ? ` pbr-change-${change}` : ""}`,
        "aria-level": depth + 1,
        ...position(of, at),
        "aria-selected": String(at === chosen),
        "aria-expanded": isDir ? String(isOpen(at)) : null,
        "data-index": index,
        title: type === SYMLINK ? `${name} → ${columns.link[entry] ?? ""}` : name,
      },
      h("span", { class: "pbr-twist" }, isDir ? icon("chevron", isOpen(at) ? "pbr-down" : "") : null),
      icon(isDir ? "folder" : (own(ICONS, type) ?? "file"), isDir ? "pbr-dir-icon" : "pbr-file-icon"),
      h(
        "span",
        { class: "pbr-entry-name" },
        name,
        type === SYMLINK || type === "1" ? h("span", { class: "pbr-dim" }, ` → ${columns.link[entry] ?? ""}`) : null,
      ),
      change
        ? h(
            "span",
            { class: "pbr-badge", title: own(CHANGES, change) },
            change,
            h("span", { class: "pbr-hidden" }, ` ${own(CHANGES, change) ?? ""}`),
          )
        : null,
      h(
        "span",
        { class: "pbr-entry-mode" },
        entry < 0 || type === REST || (columns.mode[entry] ?? -1) < 0 ? "" : modeString(type, columns.mode[entry] ?? 0),
      ),
      h("span", { class: "pbr-entry-owner" }, entry < 0 || type === REST ? "" : owner(columns.uid[entry] ?? 0, columns.gid[entry] ?? 0)),
      h(
        "span",
        { class: "pbr-entry-size" },
        type === "0" || type === REST || isDir
          ? humanBytes(change === "D" && !isDir ? (columns.size[entry] ?? 0) : of.size(at))
          : "",
      ),
    );
    line.style.transform = `translateY(${index * ROW}px)`;
    line.style.setProperty("--depth", String(depth));
    return line;
  }

  /** Where a row is among those beside it, most of which are not drawn. */
  function position(of: FileTree, at: number): Props {
    if (shown) return {};
    const beside = of.below(of.parents[at] ?? 0);
    return { "aria-posinset": beside.indexOf(at) + 1, "aria-setsize": beside.length };
  }

  function move(to: number): void {
    active = Math.max(0, Math.min(to, rows.length - 1));
    const top = active * ROW;
    if (top < node.scrollTop) node.scrollTop = top;
    else if (top + ROW > node.scrollTop + node.clientHeight) node.scrollTop = top + ROW - node.clientHeight;
    draw();
  }

  function toggle(at: number, want = !isOpen(at)): void {
    if (shown && want) closed.delete(at);
    else if (shown) closed.add(at);
    else if (want) open.add(at);
    else open.delete(at);
    refresh();
  }

  function pick(index: number): void {
    if (!tree) return;
    const at = rows[index];
    if (at === undefined) return;
    active = index;
    chosen = at;
    if (tree.isDir(at)) toggle(at);
    else draw();
    choose(tree, at);
  }

  function key(event: KeyboardEvent): void {
    if (!tree || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = rows[active] ?? 0;
    const page = Math.max(1, Math.floor(node.clientHeight / ROW) - 1);
    const moves: Record<string, number> = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: rows.length,
    };
    const to = moves[event.key];
    if (to !== undefined) move(to);
    else if (event.key === "Enter" || event.key === " ") pick(active);
    else if (event.key === "ArrowRight" && tree.isDir(at) && isOpen(at)) move(active + 1);
    else if (event.key === "ArrowRight" && tree.isDir(at)) toggle(at, true);
    else if (event.key === "ArrowLeft" && tree.isDir(at) && isOpen(at)) toggle(at, false);
    else if (event.key === "ArrowLeft") move(Math.max(0, rows.indexOf(tree.parents[at] ?? 0)));
    else if (event.key.length === 1) typeAhead(event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function typeAhead(letter: string): void {
    for (let step = 1; step <= rows.length; step += 1) {
      const index = (active + step) % rows.length;
      if (
        tree
          ?.name(rows[index] ?? 0)
          .toLowerCase()
          .startsWith(letter.toLowerCase())
      )
        return move(index);
    }
  }

  node.addEventListener("keydown", key);
  node.addEventListener("scroll", () => (frame ||= requestAnimationFrame(draw)), { passive: true });
  node.addEventListener("click", (event) => {
    const line = (event.target as Element).closest<HTMLElement>("[data-index]");
    if (line) pick(Number(line.dataset["index"]));
  });

  function filterBy(filter: Filter): number {
    if (!tree) return 0;
    const found = filter.text || filter.changes ? tree.matching(filter) : null;
    shown = found?.shown ?? null;
    closed = new Set();
    node.scrollTop = 0;
    active = 0;
    refresh();
    return found?.count ?? tree.count - 1;
  }

  return {
    node,
    set(next, filter, said, isSame = false) {
      const [before, top] = [tree, node.scrollTop];
      const path = (of: FileTree, at: number): string => (at > 0 ? of.path(at) : "");
      const opened = new Set(isSame && before ? [...open].map((at) => path(before, at)) : []);
      const at = isSame && before ? path(before, rows[active] ?? 0) : "";
      [tree, owner] = [next, said];
      [open, chosen] = [new Set(), -1];
      if (opened.size)
        for (let dir = 1; dir < next.count; dir += 1) if (next.isDir(dir) && opened.has(path(next, dir))) open.add(dir);
      const all = next.count - 1;
      if (all <= OPEN_ENTRIES) for (let at = 1; at <= all; at += 1) open.add(at);
      // A chain of directories with nothing beside them is opened to its end.
      for (
        let below = next.below(0);
        below.length === 1 && next.isDir(below[0] ?? 0);
        below = next.below(below[0] ?? 0)
      )
        open.add(below[0] ?? 0);
      node.setAttribute("aria-label", `${label}, ${plural(all, "entry")}`);
      const found = filterBy(filter);
      if (at) move(Math.max(0, rows.findIndex((row) => path(next, row) === at)));
      if (isSame) node.scrollTop = top;
      return found;
    },
    filter: filterBy,
  };
}
