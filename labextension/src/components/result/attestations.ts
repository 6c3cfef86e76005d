// The Attestations tab: the attested materials, build and packages of an image.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import type { Attested, Kernel, Software } from "../../model";
import { plural } from "../../words";
import { digestView } from "../shared/digest";
import { downloadButton } from "../shared/download";
import { needsKernel, note } from "../shared/note";
import { segments } from "../shared/segments";
import { facts, table } from "../shared/table";
import type { Panel } from "../shared/tabs";
import { when } from "./config";
import { packageTable } from "./packages";
import { live } from "./view";
import type { View } from "./view";

const PAGE = 10_000; // packages in one answer

const title = (text: string, ...details: Child[]): HTMLElement => h("h3", null, text, h("span", { class: "pbr-dim" }, details));
const more = (count: number, noun: string): Child => (count > 0 ? note(`${plural(count, `more ${noun}`)} not kept in the notebook.`) : null);

/** Ask the kernel for all packages of the image for a platform. */
async function allPackages(kernel: Kernel, platform: string): Promise<Software[]> {
  const packages: Software[] = [];
  for (let total = 1; packages.length < total;) {
    const { result } = await kernel.ask("packages", { platform, offset: packages.length, limit: PAGE });
    const page = result as { packages: Software[]; total: number };
    if (!page.packages.length) break;
    for (const software of page.packages) packages.push(software);
    ({ total } = page);
  }
  return packages;
}

function documents(kernel: Kernel | null, platform: string, parts: [part: string, words: string, name: string][]): Child {
  if (!kernel) return null;
  const rows = parts.map(([part, words, name]) => {
    const { node } = downloadButton({ kernel, method: "statement", params: { platform, part }, name, size: 0 });
    return h("div", null, h("span", { class: "pbr-dim" }, words), node);
  });
  return h("div", { class: "pbr-documents" }, rows);
}

/** Return the section on the provenance: materials, parameters and facts of the build. */
function provenance(view: View, attested: Attested): Child[] {
  const { platform, materials = [], llb_steps: steps = 0 } = attested;
  const factRows = Object.entries(attested.facts ?? {}).map(([name, value]): [Child, Child] => [name, h("code", null, when(value))]);
  if (steps) factRows.push(["LLB", `${plural(steps, "step")} of the build's definition`]);
  const parameters = Object.entries(attested.parameters ?? {}).map(([name, value]): [Child, Child] => [h("code", null, name), h("code", null, value)]);
  const rows = materials.map(([uri, digest]) => [h("code", null, uri), digest ? digestView(digest, "material") : null]);
  const count = attested.material_count ?? materials.length;
  return [
    title("Provenance", `SLSA ${attested.provenance ?? ""}`),
    facts("Provenance", factRows),
    live(view, () =>
      documents(view.kernel, platform, [
        ["provenance", "Full provenance", "provenance.json"],
        ...(steps ? [["llb", "LLB", "llb.json"] as [string, string, string]] : []),
      ]),
    ),
    title("Materials", plural(count, "source")),
    rows.length ? table("Materials", [{ title: "Source", kind: "wide" }, { title: "Digest or commit" }], rows) : note("No sources besides the build context."),
    more(count - rows.length, "material"),
    parameters.length
      ? h("details", null, h("summary", null, `${plural(parameters.length, "parameter")} of the build`), facts("Parameters", parameters))
      : null,
  ];
}

/** Return the section on the packages in the image. */
function contents(view: View, attested: Attested): Child[] {
  const { platform, packages = [], package_count: count = packages.length, sboms = 1 } = attested;
  const table = packageTable("Packages");
  const status = h("div", { "aria-live": "polite" });
  table.set(packages);
  let missing = count - packages.length;
  const load = (): void => {
    const { kernel } = view;
    if (missing <= 0) return;
    if (!kernel) return fill(status, more(missing, "package"), needsKernel("The full list"));
    fill(status, note("Loading the other packages…"));
    allPackages(kernel, platform).then(
      (complete) => {
        table.set(complete);
        missing = 0;
        fill(status);
      },
      (error: unknown) => fill(status, more(missing, "package"), note(error instanceof Error ? error.message : String(error))),
    );
  };
  view.whenKernel(load);
  load();
  return [
    title("SBOM", plural(count, "package"), sboms > 1 ? `, and ${plural(sboms - 1, "more SBOM")} of stages or the context` : null),
    attested.scanner ? note(attested.scanner) : null,
    count ? table.node : note("The scanner found no packages."),
    status,
    live(view, () => documents(view.kernel, platform, [["sbom", "SPDX", "sbom.spdx.json"]])),
  ];
}

export function attestationsTab(view: View): Panel {
  const make = (attested: Attested): Child =>
    h("div", { class: "pbr-attested" }, attested.provenance ? provenance(view, attested) : null, attested.sboms ? contents(view, attested) : null);
  return {
    node: segments(
      "Platform",
      (view.summary.attested ?? []).map((attested) => ({ title: attested.platform || "image", make: () => make(attested) })),
    ),
  };
}
