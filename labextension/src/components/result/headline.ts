// The headline: the image or files that were built, their size, and their place.

import { own } from "../../document";
import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import { runnable, totalSize } from "../../model";
import type { Kernel, Output, Summary, Vertex, Warning } from "../../model";
import { familiar, humanBytes, humanSeconds, isCounted, nameParts, plural } from "../../words";
import { dockerfile } from "../shared/code";
import { copyButton, digestView } from "../shared/digest";
import { icon } from "../shared/icons";
import type { IconName } from "../shared/icons";
import { offers, way } from "./offers";
import { report } from "./report";
import { live } from "./view";
import type { View } from "./view";

const PLACES: Record<string, [IconName, string]> = {
  local: ["folder", "Directory"],
  tar: ["box", "Tar archive"],
  oci: ["box", "OCI archive"],
  docker: ["box", "Docker archive"],
  image: ["layers", "In the store"],
  registry: ["cloud", "Pushed"],
  cacheonly: ["cache", "In the build cache"],
};

const LAYOUTS: Record<string, [IconName, string]> = {
  oci: ["folder", "OCI layout"],
  docker: ["folder", "Docker layout"],
};

/** Where an output is, in words. An image is kept by the builder that made it. */
export function place(output: Output, { driver }: Summary): [IconName, string] {
  const isDocker = output.type === "docker" || (output.type === "image" && driver === "docker");
  if (isDocker && !output.dest) return ["layers", "In Docker"];
  if (output.type === "image" && driver) return ["layers", "In BuildKit"];
  const layout = output.is_directory ? own(LAYOUTS, output.type) : undefined;
  return layout ?? own(PLACES, output.type) ?? ["box", output.type];
}

function title(summary: Summary): string {
  const names = [...new Set((summary.image?.names ?? []).map(familiar))];
  if (names.length) return names.join(", ");
  const tree = summary.outputs?.find((output) => output.file_count);
  if (tree) return plural(tree.file_count ?? 0, "file");
  if (summary.image) return "Unnamed image";
  const kinds = (summary.outputs ?? [])
    .filter((output) => output.type !== "cacheonly")
    .map((output) => place(output, summary)[1]);
  if (kinds.length) return kinds.join(", ");
  if (summary.error) return summary.canceled ? "The build was canceled" : "The build failed";
  return "Built into the cache, nothing exported";
}

function facts(view: View): Child[] {
  const { image, outputs = [] } = view.summary;
  const tree = outputs.find((output) => output.file_count);
  const list: Child[] = [];
  // The size of the image that the title names.
  if (tree && !image?.names.length) list.push(h("b", null, humanBytes(tree.file_bytes ?? 0)));
  else if (image?.digest) list.push(h("b", null, humanBytes(totalSize(image))));
  if (image?.digest) {
    const manifests = runnable(image);
    list.push(manifests.map((manifest) => manifest.platform).join(", "));
    const counts = [...new Set(manifests.map((manifest) => manifest.layers.length))];
    if (counts.length === 1) list.push(plural(counts[0] ?? 0, "layer"));
    list.push(digestView(image.digest, image.is_index ? "index" : "manifest", () => view.show("image", image.digest)));
  }
  return list;
}

/** Return the steps that people count, also those that a failed build did not come to. */
export const countedSteps = (summary: Summary): Vertex[] =>
  (summary.vertexes ?? []).filter((vertex) => isCounted(vertex.name));

/** Return `9 steps, 4 cached`, or `3 of 9 steps` where the others did not run; tests/display/data has the cases. */
export function countSteps(summary: Summary): string {
  const steps = countedSteps(summary);
  if (!steps.length) return "";
  const ran = steps.filter((vertex) => vertex.started).length;
  const cached = steps.filter((vertex) => vertex.cached).length;
  const some = ran < steps.length ? `${ran.toLocaleString("en-US")} of ` : "";
  return some + plural(steps.length, "step") + (cached ? `, ${cached.toLocaleString("en-US")} cached` : "");
}

/** Return whether a build found everything in the cache. */
export const isCached = (summary: Summary): boolean => {
  // A base is looked up in every build: its time is no work that a cache would have saved.
  const steps = countedSteps(summary).filter((vertex) => vertex.started && nameParts(vertex.name).kind !== "source");
  return Boolean(summary.builder) && !summary.error && steps.length > 0 && steps.every((vertex) => vertex.cached);
};

function how(summary: Summary): string {
  if (!summary.builder) return ""; // opened from an archive or the store, and not built here
  const outcome = summary.canceled ? "Canceled after" : summary.error ? "Failed after" : "Built in";
  const parts = [`${outcome} ${humanSeconds(summary.seconds ?? 0)}`];
  const steps = countSteps(summary);
  if (steps) parts.push(steps);
  if (summary.target) parts.push(`target ${summary.target}`);
  parts.push(`builder ${summary.builder}`);
  if (summary.rung) parts.push(`RUN on rung ${summary.rung.number}: ${summary.rung.name}`);
  return parts.join(" · ");
}

/** Return an image that can be run: by its name in the store, or by the path of an archive or a layout. */
function runnableImage(summary: Summary): { name: string; isStored: boolean } | undefined {
  if (summary.builder !== "embedded") return undefined; // another builder's images are not the kernel's
  const images = (summary.outputs ?? []).map((output) => {
    const isStored = output.type === "image";
    return { name: isStored ? familiar(output.names?.[0] ?? "") : output.type in LAYOUTS ? (output.dest ?? "") : "", isStored };
  });
  return images.find(({ name }) => name);
}

function uses(view: View): Child {
  const image = runnableImage(view.summary);
  if (!image) return null;
  const { name, isStored } = image;
  return offers(view, isStored ? name : "", () => [
    way("terminal", name, "terminal", "Open terminal"),
    way("kernel", name, "play", "Use as kernel"),
  ]);
}

function where(view: View, output: Output, index: number): HTMLElement {
  const [sign, words] = place(output, view.summary);
  const target = output.dest || [...new Set((output.names ?? []).map(familiar))].join(", ");
  const offered = Boolean(output.dest);
  return h(
    "li",
    { class: "pbr-where" },
    icon(sign),
    h("span", { class: "pbr-where-kind" }, words),
    target ? h("code", { class: "pbr-where-path" }, target) : null,
    target ? copyButton(target, output.dest ? "path" : "name") : null,
    offered ? h("span", { class: "pbr-dim" }, humanBytes(output.size ?? 0)) : null,
    output.file_count && view.summary.image?.names.length
      ? h("span", { class: "pbr-dim" }, `· ${plural(output.file_count, "file")}`)
      : null,
    offered ? live(view, () => downloadLink(view, output, index)) : null,
  );
}

function downloadLink({ kernel, show }: View, { dest = "" }: Output, index: number): Child {
  if (!kernel || kernel.filesOnly) return null;
  const open = (): void => void show("downloads", String(index));
  const props = { type: "button", class: "pbr-button pbr-small", onclick: open, "aria-label": `Download ${dest}` };
  return h("button", props, icon("download"), "Download");
}

/** Return the line of the Dockerfile that a warning or an error is about. */
function sourceLine(summary: Summary, line: number | undefined): HTMLElement | null {
  const text = line ? summary.dockerfile?.split("\n")[line - 1] : undefined;
  return text === undefined
    ? null
    : h("div", { class: "pbr-source-line" }, h("span", { class: "pbr-dim" }, `${line ?? ""}  `), dockerfile(text));
}

/** Return the button that writes the `.dockerignore` of a warning, on the machine of the kernel. */
function ignoreButton({ kernel }: View, { context = "", ignorable = [] }: Warning): Child {
  if (!kernel || kernel.filesOnly || !context || !ignorable.length) return null;
  const status = h("span", { class: "pbr-dim", role: "status" });
  const button = h(
    "button",
    { type: "button", class: "pbr-button pbr-ignore", title: `Writes ${context}/.dockerignore`, onclick: () => void write() },
    "Ignore",
    h("code", null, ignorable.join(", ")),
  );
  async function write(): Promise<void> {
    button.disabled = true;
    try {
      const { result } = await (kernel as Kernel).ask("ignore", { context, patterns: ignorable });
      const { path, added } = result as { path: string; added: [string, number][] };
      const bytes = added.reduce((sum, [, size]) => sum + size, 0);
      const saved = bytes ? `; the next build leaves out ${humanBytes(bytes)}` : "";
      fill(status, `${plural(added.length, "pattern")} added to ${path}${saved}.`);
    } catch (error) {
      button.disabled = false;
      fill(status, (error as Error).message);
    }
  }
  return h("div", { class: "pbr-tools" }, button, status);
}

function warning(view: View, finding: Warning): HTMLElement {
  const { summary } = view;
  return h(
    "li",
    null,
    h("b", null, finding.short),
    finding.line ? h("span", { class: "pbr-dim" }, ` Dockerfile:${finding.line}`) : null,
    finding.detail && finding.detail !== finding.short ? h("div", null, finding.detail) : null,
    summary.image ? null : sourceLine(summary, finding.line), // the Image tab marks it in the whole Dockerfile
    live(view, () => ignoreButton(view, finding)),
    finding.url?.startsWith("https://")
      ? h("a", { href: finding.url, target: "_blank", rel: "noopener noreferrer" }, "Learn more")
      : null,
  );
}

export function headline(view: View): HTMLElement {
  const { summary } = view;
  const state: IconName = summary.canceled ? "stop" : summary.error ? "cross" : "check";
  const list = facts(view).map((fact) => h("li", null, fact));
  const warnings = summary.warnings ?? [];
  return h(
    "header",
    { class: "pbr-head" },
    h(
      "div",
      { class: "pbr-head-line" },
      summary.image?.digest === "" ? null : h(
        "span",
        { class: `pbr-state pbr-state-${state}` },
        icon(state),
        h("span", { class: "pbr-hidden" }, summary.canceled ? "Canceled" : summary.error ? "Failed" : "Built"),
      ),
      h("h2", { class: "pbr-title" }, title(summary)),
      list.length ? h("ul", { class: "pbr-head-facts" }, list) : null,
    ),
    how(summary) ? h("p", { class: "pbr-how" }, how(summary)) : null,
    report(view),
    h(
      "ul",
      { class: "pbr-places" },
      (summary.outputs ?? []).map((output, index) => where(view, output, index)),
    ),
    uses(view),
    warnings.length
      ? h(
          "details",
          { class: "pbr-warnings" },
          h(
            "summary",
            null,
            icon("warning"),
            plural(warnings.length, "warning"),
            h("span", { class: "pbr-dim pbr-first" }, warnings[0]?.short ?? ""),
          ),
          h(
            "ul",
            null,
            warnings.map((item) => warning(view, item)),
          ),
        )
      : null,
  );
}
