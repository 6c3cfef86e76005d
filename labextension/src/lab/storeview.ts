// The contents of the store, as lists to act on: images, the last builds, and disk usage.

import { own } from "../document";
import { fill, freshId, h } from "../dom";
import type { Child } from "../dom";
import type { Kernel } from "../model";
import { icon } from "../components/shared/icons";
import type { IconName } from "../components/shared/icons";
import { fillWith } from "../components/shared/note";
import { humanBytes, humanSeconds, plural, shortDigest } from "../words";

interface Image {
  name: string;
  digest: string;
  platforms: string[];
  size: number;
  created: number;
}

interface Build {
  ref: string;
  name: string;
  status: "running" | "completed" | "error" | "canceled";
  created: number;
  duration: number | null;
  error: string;
}

interface Usage {
  rows: { kind: string; size: number }[];
  total: number;
  reclaimable: number;
}

/** The actions of the lists, which the surrounding page carries out. */
export interface Actions {
  open: (image: string) => void;
  openBuild: (ref: string) => void;
  compare: (before: string, after: string) => void;
  /** Let a notebook run in the image; resolves to a sentence about it, or "". */
  use: (image: string) => Promise<string>;
  /** Open a terminal in the image. */
  terminal: (image: string) => void;
  /** Ask before something is removed; resolves to false when the user declines. */
  confirm: (title: string, body: string, verb: string) => Promise<boolean>;
}

const BUILDS = 20; // how many of the last builds are listed
const SIGNS: Record<Build["status"], [IconName, string]> = {
  running: ["cache", "Running"],
  completed: ["check", "Completed"],
  error: ["cross", "Failed"],
  canceled: ["stop", "Canceled"],
};

/** Return how long ago a moment was, in words; it is given in seconds since 1970. */
export function ago(moment: number, now: number = Date.now() / 1000): string {
  const seconds = Math.max(0, now - moment);
  const units: [number, string][] = [
    [86400, "day"],
    [3600, "hour"],
    [60, "minute"],
  ];
  for (const [length, name] of units) if (seconds >= length) return `${plural(Math.floor(seconds / length), name)} ago`;
  return "just now";
}

const button = (name: IconName, label: string, onclick: () => void): HTMLElement =>
  h("button", { type: "button", class: "pb-store-button", title: label, "aria-label": label, onclick }, icon(name));

export class StoreView {
  readonly node = h("div", { class: "pb-store" });
  private images = h("div", { class: "pb-store-part" });
  private builds = h("div", { class: "pb-store-part" });
  private disk = h("div", { class: "pb-store-part" });
  private message = h("p", { class: "pb-store-said", role: "status" });
  private selection: string[] = [];
  private compareButton = h(
    "button",
    { type: "button", class: "pb-store-action", disabled: true, onclick: () => this.compare() },
    "Compare",
  );

  constructor(
    private kernel: () => Promise<Kernel>,
    private actions: Actions,
  ) {
    const part = (title: string, place: HTMLElement, ...tools: Child[]): HTMLElement => {
      const id = freshId("store");
      return h("section", { "aria-labelledby": id }, h("div", { class: "pb-store-head" }, h("h2", { id }, title), tools), place);
    };
    fill(
      this.node,
      this.message,
      part("Images", this.images, this.compareButton),
      part("Builds", this.builds),
      part("Disk usage", this.disk),
    );
  }

  /** Ask the kernel for everything anew. */
  async refresh(): Promise<void> {
    const kernel = this.kernel();
    const ask = async <T>(method: string): Promise<T> => (await (await kernel).ask(method, {})).result as T;
    await Promise.all([
      fillWith(this.images, ask<{ images: Image[] }>("images").then(({ images }) => this.imageList(images))),
      fillWith(this.builds, ask<{ builds: Build[] }>("history").then(({ builds }) => buildList(builds, this.actions.openBuild))),
      fillWith(this.disk, ask<Usage>("du").then((usage) => this.usage(usage))),
    ]);
  }

  private imageList(images: Image[]): Child {
    this.selection = this.selection.filter((name) => images.some((image) => image.name === name));
    this.showChosen();
    if (!images.length) return h("p", { class: "pb-store-none" }, "No images yet. A build with -t NAME puts one here.");
    return h("ul", { class: "pb-store-list" }, images.map((image) => this.imageRow(image)));
  }

  private imageRow(image: Image): HTMLElement {
    const facts = [image.platforms.join(", "), humanBytes(image.size), ago(image.created)].filter(Boolean);
    const box: HTMLInputElement = h("input", {
      type: "checkbox",
      "aria-label": `Choose ${image.name} to compare it`,
      checked: this.selection.includes(image.name),
      onchange: () => {
        this.selection = [...this.selection.filter((name) => name !== image.name), ...(box.checked ? [image.name] : [])];
        this.showChosen();
      },
    });
    return h(
      "li",
      { class: "pb-store-row", title: `${image.name}\n${shortDigest(image.digest)}` },
      box,
      h(
        "button",
        { type: "button", class: "pb-store-open", onclick: () => this.actions.open(image.name) },
        h("span", { class: "pb-store-name" }, image.name),
        h("span", { class: "pb-store-facts" }, facts.join(" · ")),
      ),
      button("play", `Use ${image.name} as kernel`, () => void this.change(() => this.actions.use(image.name))),
      button("terminal", `Open a terminal in ${image.name}`, () => this.actions.terminal(image.name)),
      button("cross", `Remove ${image.name}`, () => void this.remove(image)),
    );
  }

  private usage(usage: Usage): Child {
    const types = new Map<string, number>();
    for (const row of usage.rows) types.set(row.kind, (types.get(row.kind) ?? 0) + row.size);
    const rows = [...types].sort((a, b) => b[1] - a[1]).map(([type, size]) => [type, size] as const);
    const bar = ([type, size]: readonly [string, number]): HTMLElement =>
      h(
        "li",
        null,
        h("span", { class: "pb-store-type" }, type),
        h("meter", { min: 0, max: Math.max(usage.total, 1), value: size, "aria-label": type }),
        h("span", { class: "pb-store-size" }, humanBytes(size)),
      );
    return [
      h("p", null, `${humanBytes(usage.total)} in total, ${humanBytes(usage.reclaimable)} reclaimable.`),
      rows.length ? h("ul", { class: "pb-store-room" }, rows.map(bar)) : null,
      h("button", { type: "button", class: "pb-store-action", disabled: !usage.rows.length, onclick: () => void this.change(() => this.prune()) }, "Prune build cache…"),
    ];
  }

  private async remove(image: Image): Promise<void> {
    const body = "The name is removed, and what no other image or build needs is deleted.";
    if (!(await this.actions.confirm(`Remove ${image.name}?`, body, "Remove"))) return;
    await this.change(async (kernel) => {
      const { result } = await kernel.ask("remove", { ref: image.name });
      return `Removed ${image.name} and freed ${humanBytes((result as { freed: number }).freed)}.`;
    });
  }

  /** Prune the build cache if the user agrees; resolves to a sentence about it, or "". */
  async prune(): Promise<string> {
    const body = "Steps whose results are removed run again in the next build. Images stay.";
    if (!(await this.actions.confirm("Prune the build cache?", body, "Prune"))) return "";
    const { result } = await (await this.kernel()).ask("prune", { all: true });
    const { reclaimed, records } = result as { reclaimed: number; records: number };
    return records ? `Freed ${humanBytes(reclaimed)}.` : "There was nothing to remove.";
  }

  private async change(act: (kernel: Kernel) => Promise<string>): Promise<void> {
    try {
      fill(this.message, await act(await this.kernel()));
    } catch (error) {
      fill(this.message, (error as Error).message);
    }
    await this.refresh();
  }

  private showChosen(): void {
    this.compareButton.disabled = this.selection.length !== 2;
    this.compareButton.title = this.selection.length === 2 ? `What changes from ${this.selection[0]} to ${this.selection[1]}` : "Choose two images";
  }

  private compare(): void {
    const [before, after] = this.selection;
    if (before && after) this.actions.compare(before, after);
  }
}

function buildList(builds: Build[], open: Actions["openBuild"]): Child {
  if (!builds.length) return h("p", { class: "pb-store-none" }, "No builds yet.");
  return h("ul", { class: "pb-store-list" }, builds.slice(0, BUILDS).map((build) => buildRow(build, open)));
}

function buildRow(build: Build, open: Actions["openBuild"]): HTMLElement {
  const [name, word] = own(SIGNS, build.status) ?? SIGNS.error;
  const facts = [ago(build.created), build.duration === null ? "" : humanSeconds(build.duration)].filter(Boolean);
  return h(
    "li",
    { class: "pb-store-row", "data-status": build.status },
    h("span", { class: "pb-store-sign", role: "img", "aria-label": word, title: word }, icon(name)),
    h(
      "button",
      { type: "button", class: "pb-store-open", title: "Open its log", onclick: () => open(build.ref) },
      h("span", { class: "pb-store-name" }, build.name || build.ref.slice(0, 12)),
      h("span", { class: "pb-store-facts" }, facts.join(" · ")),
      build.error && h("span", { class: "pb-store-error" }, build.error),
    ),
  );
}

