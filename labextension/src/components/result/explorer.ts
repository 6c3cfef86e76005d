// A tree of files with a filter above it, and the facts about the chosen entry beside it.

import { own } from "../../document";
import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import { REST, runnable } from "../../model";
import type { Columns, Manifest } from "../../model";
import { humanBytes, modeString, plural } from "../../words";
import { dockerfile } from "../shared/code";
import { copyButton } from "../shared/digest";
import { DIR, FileTree, SYMLINK } from "../shared/filetree";
import { icon } from "../shared/icons";
import { fillWith, note } from "../shared/note";
import { treeView } from "../shared/tree";
import { instructionOf } from "./layerlist";
import { preview } from "./preview";
import type { TreeName } from "./trees";
import type { View } from "./view";

const KINDS: Record<string, string> = {
  [REST]: "Entries not kept in the notebook",
  "0": "File",
  "1": "Hard link",
  "2": "Symbolic link",
  "3": "Character device",
  "4": "Block device",
  "5": "Directory",
  "6": "Named pipe",
};
const CHANGES = [
  ["A", "Added"],
  ["M", "Changed"],
  ["D", "Removed"],
] as const;

export interface Explorer {
  node: HTMLElement;
  /**
   * Show a tree. `name` is the kernel's name for it; with null, contents cannot be fetched. If it is the same tree as
   * before, of which more is known now, open folders stay open.
   */
  set: (columns: Columns, name: TreeName | null) => void;
  search: (text: string) => void;
}

/** Return the names of an owner, or a single one if user and group share it; numbers where the image has no names. */
export function ownerName(manifest: Manifest | undefined, uid: number, gid: number): string {
  const root = (id: number): string => (id === 0 ? "root" : String(id));
  const user = own(manifest?.users ?? {}, String(uid)) ?? root(uid);
  const group = own(manifest?.groups ?? {}, String(gid)) ?? root(gid);
  return user === group ? user : `${user}:${group}`;
}

/** Return an explorer of the trees of a result; `view` is null for entries that belong to no single image. */
export function explorer(label: string, view: View | null, withChanges: boolean): Explorer {
  const side = h("div", { class: "pbr-side", "aria-live": "polite" });
  const count = h("span", { class: "pbr-dim pbr-found", role: "status" });
  const input = h("input", {
    type: "search",
    class: "pbr-input",
    placeholder: "Filter by path",
    "aria-label": `Filter ${label}`,
    spellcheck: "false",
  });
  let isBare = false; // the facts about the chosen entry lack those that a kernel would add
  let draw = (): void => undefined;
  const treePart = treeView(label, (tree, node) => {
    draw = () => fill(side, about(tree, node));
    draw();
  });
  view?.whenKernel(() => (view.kernel && isBare ? draw() : undefined));
  let manifest: Manifest | undefined;
  let treeName: TreeName | null = null;
  let allowed = "";

  const toggles = CHANGES.map(([letter, title]) => {
    const button = h(
      "button",
      { type: "button", class: `pbr-toggle pbr-change-${letter}`, "aria-pressed": "false", onclick: () => press() },
      h("span", { class: "pbr-badge", "aria-hidden": "true" }, letter),
      title,
    );
    function press(): void {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      allowed = on ? allowed + letter : allowed.replace(letter, "");
      filter();
    }
    return button;
  });

  function filter(): void {
    tell(treePart.filter({ text: input.value, changes: allowed }));
  }

  function tell(matches: number): void {
    fill(count, input.value || allowed ? `${matches.toLocaleString("en-US")} found` : plural(matches, "entry"));
  }

  function about(tree: FileTree, node: number): Child {
    const path = tree.path(node);
    const entry = tree.entry(node);
    const { columns } = tree;
    const type = tree.isDir(node) ? DIR : columns.type.charAt(entry);
    const change = CHANGES.find(([letter]) => letter === tree.change(node))?.[1];
    const pairs: [string, Child][] = [
      ["Kind", [own(KINDS, type) ?? "Unknown", change ? `, ${change.toLowerCase()} here` : ""]],
    ];
    if (type === "0" || type === DIR || type === REST) pairs.push(["Size", humanBytes(tree.size(node))]);
    if (type === DIR) pairs.push(["Holds", plural(tree.childrenOf(node).length, "entry")]);
    if (type === SYMLINK || type === "1") pairs.push(["Points to", h("code", null, columns.link[entry] ?? "")]);
    if (entry >= 0 && (columns.mode[entry] ?? -1) >= 0 && type !== REST)
      pairs.push([
        "Mode",
        h(
          "code",
          null,
          `${modeString(type, columns.mode[entry] ?? 0)}  ${((columns.mode[entry] ?? 0) & 0o7777).toString(8).padStart(4, "0")}`,
        ),
      ]);
    if (entry >= 0 && (columns.mode[entry] ?? -1) >= 0 && type !== REST) {
      const [uid, gid] = [columns.uid[entry] ?? 0, columns.gid[entry] ?? 0];
      pairs.push(["Owner", `${ownerName(manifest, uid, gid)} (${uid}:${gid})`]);
      const place = h("dd", null, "…");
      if (treeName?.of === "image" && change !== "Removed") {
        pairs.push(["Layer", place]);
        void origin(path, place);
      }
    }
    return [
      h("div", { class: "pbr-side-title" }, h("code", null, `/${path}`), copyButton(`/${path}`, "path")),
      h(
        "dl",
        { class: "pbr-pairs" },
        pairs.map(([name, value]) => [
          h("dt", null, name),
          value instanceof HTMLElement && value.tagName === "DD" ? value : h("dd", null, value),
        ]),
      ),
      type === "0" && change !== "Removed" ? content(path, tree.size(node)) : null,
    ];
  }

  /** Show the layer that an entry of the image comes from, and its instruction. */
  async function origin(path: string, place: HTMLElement): Promise<void> {
    const number = treeName ? await view?.trees.origin(treeName.platform, path).catch(() => 0) : 0;
    const instruction = number && view && manifest ? instructionOf(view.summary, manifest, number - 1) : "";
    fill(place, number ? [String(number), instruction ? [" ", dockerfile(instruction)] : null] : "unknown without a kernel");
  }

  function content(path: string, size: number): Child {
    const kernel = view?.kernel ?? null;
    const isTold = treeName && !(kernel?.filesOnly && treeName.of.startsWith("output:"));
    isBare = !kernel;
    if (!kernel || !treeName || !isTold) return note("Run the cell again to see its content.");
    const place = h("div", { class: "pbr-preview" });
    void fillWith(place, preview(kernel, treeName, path, size));
    return place;
  }

  input.addEventListener("input", filter);
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      treePart.node.focus();
    }
  });

  const bar = h(
    "div",
    { class: "pbr-tools" },
    h("label", { class: "pbr-search" }, icon("search"), input),
    withChanges
      ? h("div", { class: "pbr-toggles", role: "group", "aria-label": "Changes shown" }, toggles)
      : null,
    count,
  );
  return {
    node: h("div", { class: "pbr-browser" }, bar, h("div", { class: "pbr-explorer" }, treePart.node, side)),
    set(columns, name) {
      const isSame = name !== null && name.of === treeName?.of && name.platform === treeName.platform;
      treeName = name;
      manifest = runnable(view?.summary.image).find((candidate) => candidate.platform === name?.platform);
      const owner = (uid: number, gid: number): string => ownerName(manifest, uid, gid);
      tell(treePart.set(new FileTree(columns), { text: input.value, changes: allowed }, owner, isSame));
      isBare = false;
      fill(side, note("Choose an entry to see its details."));
    },
    search(text) {
      input.value = text;
      filter();
    },
  };
}
