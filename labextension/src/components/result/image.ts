// The Image tab: index, manifests, configs and layers in a table, each row of which opens its document in place.

import { fill, h } from "../../dom";
import type { Child } from "../../dom";
import { isAttestation } from "../../model";
import type { History, Image, Layer, Manifest } from "../../model";
import { humanBytes, mediaTypeWords } from "../../words";
import { dockerfile, json } from "../shared/code";
import { digestView } from "../shared/digest";
import { fillWith, needsKernel, note } from "../shared/note";
import type { Panel } from "../shared/tabs";
import { source } from "./source";
import { live } from "./view";
import type { View } from "./view";

interface Row {
  kind: string;
  depth: number;
  digest: string;
  mediaType: string;
  size: number;
  /** The JSON text; undefined if only the kernel has it; null for a layer, which is not JSON. */
  raw: string | undefined | null;
  layer?: Layer;
  number?: number;
}

function rowsOf(image: Image): Row[] {
  const rows: Row[] = [];
  const deep = image.is_index ? 1 : 0;
  if (image.is_index)
    rows.push({
      kind: "Index",
      depth: 0,
      digest: image.digest,
      mediaType: image.media_type,
      size: image.size,
      raw: image.raw || undefined,
    });
  for (const manifest of image.manifests ?? []) {
    const attests = isAttestation(manifest);
    const title = attests ? "Attestations" : `Manifest ${manifest.platform}`;
    rows.push({
      kind: title,
      depth: deep,
      digest: manifest.digest,
      mediaType: manifest.media_type,
      size: manifest.size,
      raw: manifest.raw || undefined,
    });
    rows.push({
      kind: "Config",
      depth: deep + 1,
      digest: manifest.config_digest,
      mediaType: manifest.config_media_type,
      size: manifest.config_size,
      raw: configText(manifest),
    });
    manifest.layers.forEach((layer, index) =>
      rows.push({
        kind: attests ? "Statement" : `Layer ${index + 1}`,
        depth: deep + 1,
        digest: layer.digest,
        mediaType: layer.media_type,
        size: layer.size,
        raw: attests ? undefined : null,
        layer,
        number: index + 1,
      }),
    );
  }
  return rows;
}

const configText = (manifest: Manifest): string | undefined =>
  Object.keys(manifest.config).length ? JSON.stringify(manifest.config) : undefined;

/** Return the history entries that made no layer, such as ENV, which are only in the config. */
const empty = (history: History[] | undefined): History[] => (history ?? []).filter((entry) => entry.empty_layer);

export function imageTab(view: View): Panel {
  const image = view.summary.image;
  if (!image) return { node: h("div") };
  const rows = rowsOf(image);
  const rowsByDigest = new Map(rows.map((row) => [row.digest, row]));
  const places = new Map<string, { line: HTMLTableRowElement; toggle: (want?: boolean) => void }>();

  const open = (digest: string): (() => void) | undefined => (rowsByDigest.has(digest) ? () => reveal(digest) : undefined);

  function documentOf(row: Row): Child {
    if (row.raw === null && row.layer) return layerFacts(view, row.layer);
    if (row.raw !== undefined && row.raw !== null) return json(row.raw, open);
    return live(view, () => askedFor(row));
  }

  function askedFor(row: Row): Child {
    const { kernel } = view;
    if (!kernel) return needsKernel("This document");
    const place = h("div", { "aria-live": "polite" });
    void fillWith(
      place,
      kernel.ask("blob", { digest: row.digest }).then(({ result }) => {
        const { text, truncated } = result as { text: string; truncated: boolean };
        return [json(text, open), truncated ? note("Only the beginning is shown.") : null];
      }),
    );
    return place;
  }

  function line(row: Row): HTMLTableRowElement[] {
    const detail = h("td", { colspan: 4, class: "pbr-detail" });
    const detailRow = h("tr", { class: "pbr-detail-row", hidden: true }, detail);
    const digest = digestView(row.digest, row.kind, () => toggle());
    const button = digest.querySelector("button");
    button?.setAttribute("aria-expanded", "false");
    const main = h(
      "tr",
      { class: `pbr-doc pbr-doc-${row.kind.split(" ")[0]?.toLowerCase() ?? ""}` },
      h(
        "th",
        { scope: "row" },
        h(
          "div",
          { class: "pbr-doc-what" },
          h("span", { class: "pbr-doc-kind" }, row.kind),
          row.layer && row.raw === null ? dockerfile(row.layer.created_by ?? "") : null,
        ),
      ),
      h("td", null, digest),
      h("td", { class: "pbr-num" }, humanBytes(row.size)),
      h(
        "td",
        { class: "pbr-dim pbr-words" },
        h("span", { title: row.mediaType }, mediaTypeWords(row.mediaType).split(":")[0]),
      ),
    );
    main.style.setProperty("--depth", String(row.depth));
    function toggle(want = detailRow.hidden): void {
      detailRow.hidden = !want;
      button?.setAttribute("aria-expanded", String(want));
      if (want && !detail.firstChild) fill(detail, mediaType(row.mediaType), documentOf(row));
    }
    places.set(row.digest, { line: main, toggle });
    return [main, detailRow];
  }

  function reveal(digest: string): void {
    const entry = places.get(digest);
    if (!entry) return;
    entry.toggle(true);
    entry.line.scrollIntoView({ block: "nearest" });
    entry.line.querySelector("button")?.focus();
  }

  const titles = ["What", "Digest", "Size", "Media type"].map((title, index) =>
    h("th", { scope: "col", class: index === 2 ? "pbr-num" : null }, title),
  );
  const grid = h(
    "table",
    { class: "pbr-table pbr-docs", "aria-label": "Index, manifests, configs and layers" },
    h("thead", null, h("tr", null, titles)),
    h("tbody", null, rows.flatMap(line)),
  );
  const silent = empty(image.manifests?.find((manifest) => !isAttestation(manifest))?.history);
  return {
    node: h(
      "div",
      null,
      h("div", { class: "pbr-scroll" }, grid),
      view.summary.dockerfile ? source(view, (digest) => reveal(digest)) : silent.length ? emptyLayers(silent) : null,
    ),
    reveal,
  };
}

const mediaType = (type: string): Child =>
  h("p", { class: "pbr-dim pbr-media" }, `${mediaTypeWords(type)}. `, h("code", null, type));

function layerFacts(view: View, layer: Layer): HTMLElement {
  const changes =
    layer.files_added === undefined || layer.files_added < 0
      ? null
      : h(
          "span",
          null,
          `${layer.files_added} added, ${layer.files_changed ?? 0} changed, ${layer.files_removed ?? 0} removed`,
        );
  return h(
    "dl",
    { class: "pbr-pairs" },
    layer.created_by ? [h("dt", null, "Instruction"), h("dd", null, dockerfile(layer.created_by))] : null,
    layer.diff_id
      ? [
          h("dt", null, "diffID"),
          h(
            "dd",
            null,
            digestView(layer.diff_id, "uncompressed layer"),
            h("span", { class: "pbr-dim" }, "the digest of its uncompressed tar"),
          ),
        ]
      : null,
    (layer.uncompressed_size ?? -1) >= 0
      ? [h("dt", null, "Uncompressed"), h("dd", null, humanBytes(layer.uncompressed_size ?? 0))]
      : null,
    changes ? [h("dt", null, "Files"), h("dd", null, changes)] : null,
    h("dt", null, "Content"),
    h(
      "dd",
      null,
      h(
        "button",
        { type: "button", class: "pbr-link", onclick: () => view.show("layers", layer.diff_id) },
        "See its files in Layers",
      ),
    ),
  );
}

function emptyLayers(entries: History[]): HTMLElement {
  return h(
    "section",
    null,
    h("h3", null, "Instructions that made no layer"),
    h(
      "ul",
      { class: "pbr-lines" },
      entries.map((entry) => h("li", null, dockerfile(entry.created_by ?? entry.comment ?? ""))),
    ),
  );
}
