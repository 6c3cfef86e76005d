// A tree of files in the pattern of ARIA: one stop for the tab key, arrows within. Only the rows in sight are drawn.

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
const HEIGHT = 420; // pixels, until the page has told
const MORE = 8; // rows that are drawn above and below those in sight
const CHANGES: Record<string, string> = { A: "added", M: "changed", D: "removed" };
const ICONS: Record<string, IconName> = { "1": "link", "2": "link", "3": "device", "4": "device", "6": "device", [REST]: "plus" };
const OPEN_ENTRIES = 14; // a tree with at most this many entries starts open

/** Returns the owner of an entry, in words. */
export type Owner = (uid: number, gid: number) => string;

export interface TreeView {
  node: HTMLElement;
  /** Show a tree, filtered; returns the number of entries that match. `isSame` keeps open folders open. */
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
  let closed = new Set<number>(); // while a filter opens every folder with a match
  let visible: Uint8Array | null = null;
  let rows = new Int32Array();
  let active = 0;
  let selected = -1;
  let frame = 0;
  // As the page told them last: to ask in the middle of a change would make it lay everything out at once.
  let [top, height] = [0, HEIGHT];

  const isOpen = (item: number): boolean => (visible ? !closed.has(item) : open.has(item));

  function refresh(): void {
    rows = tree ? tree.rows(isOpen, visible) : new Int32Array();
    active = Math.max(0, Math.min(active, rows.length - 1));
    canvas.style.height = `${rows.length * ROW}px`;
    node.style.setProperty("--rows", canvas.style.height);
    top = Math.max(0, Math.min(top, rows.length * ROW - height));
    draw();
  }

  function draw(): void {
    frame = 0;
    if (!tree) return;
    const first = Math.max(0, Math.floor(top / ROW) - MORE);
    const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + MORE);
    const elements: HTMLElement[] = [];
    for (let index = first; index < last; index += 1) elements.push(row(tree, index));
    if (rows.length && (active < first || active >= last)) elements.push(row(tree, active));
    fill(canvas, elements);
    if (rows.length) node.setAttribute("aria-activedescendant", `${prefix}-${active}`);
    else node.removeAttribute("aria-activedescendant");
    if (!rows.length)
      fill(
        canvas,
        h("div", { role: "treeitem", class: "pbr-tree-none" }, visible ? "Nothing matches." : "This folder is empty."),
      );
  }

  function row(of: FileTree, index: number): HTMLElement {
    const item = rows[index] ?? 0;
    const entry = of.entry(item);
    const { columns } = of;
    const isDir = of.isDir(item);
    const type = isDir ? "5" : columns.type.charAt(entry);
    const change = of.change(item);
    const depth = of.depth(item);
    const name = of.name(item);
    const line = h(
      "div",
      {
        role: "treeitem",
        id: `${prefix}-${index}`,
        class: `pbr-entry${index === active ? " pbr-active" : ""}${change ? ` pbr-change-${change}` : ""}`,
        "aria-level": depth + 1,
        ...position(of, item),
        "aria-selected": String(item === selected),
        "aria-expanded": isDir ? String(isOpen(item)) : null,
        "data-index": index,
        title: type === SYMLINK ? `${name} → ${columns.link[entry] ?? ""}` : name,
      },
      h("span", { class: "pbr-twist" }, isDir ? icon("chevron", isOpen(item) ? "pbr-down" : "") : null),
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
          ? humanBytes(change === "D" && !isDir ? (columns.size[entry] ?? 0) : of.size(item))
          : "",
      ),
    );
    line.style.transform = `translateY(${index * ROW}px)`;
    line.style.setProperty("--depth", String(depth));
    return line;
  }

  /** Return the position of a row among its siblings, most of which are not drawn. */
  function position(of: FileTree, item: number): Props {
    if (visible) return {};
    const beside = of.childrenOf(of.parents[item] ?? 0);
    return { "aria-posinset": beside.indexOf(item) + 1, "aria-setsize": beside.length };
  }

  function look(): void {
    [top, height] = [node.scrollTop, node.clientHeight || HEIGHT];
    draw();
  }

  function move(to: number): void {
    active = Math.max(0, Math.min(to, rows.length - 1));
    const begin = active * ROW;
    if (begin < node.scrollTop) node.scrollTop = begin;
    else if (begin + ROW > node.scrollTop + node.clientHeight) node.scrollTop = begin + ROW - node.clientHeight;
    look();
  }

  function toggle(item: number, want = !isOpen(item)): void {
    if (visible && want) closed.delete(item);
    else if (visible) closed.add(item);
    else if (want) open.add(item);
    else open.delete(item);
    refresh();
  }

  function pick(index: number): void {
    if (!tree) return;
    const item = rows[index];
    if (item === undefined) return;
    active = index;
    selected = item;
    if (tree.isDir(item)) toggle(item);
    else draw();
    choose(tree, item);
  }

  function key(event: KeyboardEvent): void {
    if (!tree || event.ctrlKey || event.metaKey || event.altKey) return;
    const item = rows[active] ?? 0;
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
    else if (event.key === "ArrowRight" && tree.isDir(item) && isOpen(item)) move(active + 1);
    else if (event.key === "ArrowRight" && tree.isDir(item)) toggle(item, true);
    else if (event.key === "ArrowLeft" && tree.isDir(item) && isOpen(item)) toggle(item, false);
    else if (event.key === "ArrowLeft") move(Math.max(0, rows.indexOf(tree.parents[item] ?? 0)));
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
  node.addEventListener("scroll", () => (frame ||= requestAnimationFrame(look)), { passive: true });
  new ResizeObserver(() => node.clientHeight > height && look()).observe(node);
  node.addEventListener("click", (event) => {
    const line = (event.target as Element).closest<HTMLElement>("[data-index]");
    if (line) pick(Number(line.dataset["index"]));
  });

  function filterBy(filter: Filter): number {
    if (!tree) return 0;
    const matches = filter.text || filter.changes ? tree.matching(filter) : null;
    visible = matches?.visible ?? null;
    closed = new Set();
    if (top) node.scrollTop = top = 0;
    active = 0;
    refresh();
    return matches?.count ?? tree.count - 1;
  }

  return {
    node,
    set(next, filter, owners, isSame = false) {
      const [before, scrolled] = [tree, top];
      const path = (of: FileTree, item: number): string => (item > 0 ? of.path(item) : "");
      const opened = new Set(isSame && before ? [...open].map((item) => path(before, item)) : []);
      const activePath = isSame && before ? path(before, rows[active] ?? 0) : "";
      [tree, owner] = [next, owners];
      [open, selected] = [new Set(), -1];
      if (opened.size)
        for (let dir = 1; dir < next.count; dir += 1) if (next.isDir(dir) && opened.has(path(next, dir))) open.add(dir);
      const total = next.count - 1;
      if (total <= OPEN_ENTRIES) for (let item = 1; item <= total; item += 1) open.add(item);
      // A chain of directories without siblings is opened to its end.
      for (
        let children = next.childrenOf(0);
        children.length === 1 && next.isDir(children[0] ?? 0);
        children = next.childrenOf(children[0] ?? 0)
      )
        open.add(children[0] ?? 0);
      node.setAttribute("aria-label", `${label}, ${plural(total, "entry")}`);
      const count = filterBy(filter);
      if (activePath) move(Math.max(0, rows.findIndex((row) => path(next, row) === activePath)));
      if (isSame && scrolled) {
        node.scrollTop = scrolled;
        look();
      }
      return count;
    },
    filter: filterBy,
  };
}
