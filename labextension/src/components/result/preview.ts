// The content of a file by its kind: text with line numbers, JSON, a table, a picture, or a dump of bytes.

import { own } from "../../document";
import { h } from "../../dom";
import type { Child } from "../../dom";
import type { Kernel } from "../../model";
import { humanBytes, plural } from "../../words";
import { json } from "../shared/code";
import { downloadButton } from "../shared/download";
import { note } from "../shared/note";
import type { TreeName } from "./trees";

const LIMIT = 256 * 1024; // bytes of text that are shown
const PICTURE = 16 * 1024 * 1024; // bytes of a picture that is shown
const ROWS = 200;
const DUMPED = 512;
const IMAGES: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  bmp: "image/bmp",
  ico: "image/x-icon",
  svg: "image/svg+xml",
};

interface Told {
  size: number;
  kind: "text" | "json" | "csv" | "image" | "binary";
  encoding?: string;
}

const ending = (path: string): string => path.slice(path.lastIndexOf(".") + 1).toLowerCase();

/** Return the content of a file, and a button that downloads it. */
export async function preview(kernel: Kernel, tree: TreeName, path: string, size: number): Promise<Child> {
  const limit = own(IMAGES, ending(path)) && size <= PICTURE ? PICTURE : LIMIT;
  const { result, buffers } = await kernel.ask("file", { ...tree, path, offset: 0, limit });
  const info = result as Told;
  const bytes = new Uint8Array(buffers[0] ?? new ArrayBuffer(0));
  const name = path.slice(path.lastIndexOf("/") + 1);
  const isWhole = bytes.length >= info.size;
  const { node } = downloadButton({ kernel, method: "download", params: { ...tree, path }, name, size: info.size });
  const cut = isWhole ? null : note(`The first ${humanBytes(bytes.length)} of ${humanBytes(info.size)}.`);
  return [
    h("div", { class: "pbr-preview-tools" }, node),
    info.size ? body(info, bytes, path, isWhole) : note("The file is empty."),
    info.kind === "binary" ? null : cut,
  ];
}

function body(info: Told, bytes: Uint8Array<ArrayBuffer>, path: string, isWhole: boolean): Child {
  if (info.kind === "image" && isWhole) return picture(bytes, path);
  if (info.kind === "binary" || info.kind === "image") return dump(bytes);
  const text = decode(bytes, info.encoding);
  if (info.kind === "json" && isWhole) return json(text);
  if (info.kind === "csv") return csv(text, ending(path) === "tsv" ? "\t" : ",");
  return lines(text);
}

function decode(bytes: Uint8Array, encoding: string | undefined): string {
  try {
    return new TextDecoder(encoding || "utf-8").decode(bytes);
  } catch {
    return new TextDecoder("utf-8").decode(bytes);
  }
}

function picture(bytes: Uint8Array<ArrayBuffer>, path: string): HTMLElement {
  // In an <img>, an SVG runs no script and fetches nothing.
  const url = URL.createObjectURL(new Blob([bytes], { type: own(IMAGES, ending(path)) ?? "image/png" }));
  const image = h("img", { src: url, alt: path, class: "pbr-picture" });
  const free = (): void => URL.revokeObjectURL(url);
  image.addEventListener("load", free);
  image.addEventListener("error", free);
  return h("div", { class: "pbr-picture-frame" }, image);
}

function lines(text: string): HTMLElement {
  const allLines = text.replace(/\n$/, "").split("\n");
  return h(
    "div",
    { class: "pbr-text", tabindex: 0, role: "region", "aria-label": "Content" },
    h("pre", { class: "pbr-gutter", "aria-hidden": "true" }, allLines.map((_, index) => index + 1).join("\n")),
    h("pre", null, allLines.join("\n")),
  );
}

function dump(bytes: Uint8Array): HTMLElement {
  const rows: string[] = [];
  for (let offset = 0; offset < Math.min(bytes.length, DUMPED); offset += 16) {
    const part = [...bytes.slice(offset, offset + 16)];
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    rows.push(`${offset.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return h(
    "div",
    null,
    note("Binary file. The first bytes:"),
    h("pre", { class: "pbr-pre", tabindex: 0 }, rows.join("\n")),
  );
}

/** Return the rows of comma-separated values, with quotes as in RFC 4180. */
export function parseCsv(text: string, comma: string, limit: number): string[][] {
  const rows: string[][] = [];
  let [row, cell, quoted]: [string[], string, boolean] = [[], "", false];
  const endRow = (): void => {
    rows.push([...row, cell]);
    [row, cell] = [[], ""];
  };
  for (let index = 0; index < text.length && rows.length < limit; index += 1) {
    const letter = text.charAt(index);
    if (quoted && letter === '"' && text[index + 1] === '"') [cell, index] = [cell + '"', index + 1];
    else if (letter === '"' && (quoted || !cell)) quoted = !quoted;
    else if (!quoted && letter === comma) [row, cell] = [[...row, cell], ""];
    else if (!quoted && letter === "\n") endRow();
    else if (letter !== "\r" || quoted) cell += letter;
  }
  if (rows.length < limit && (cell || row.length)) endRow();
  return rows;
}

function csv(text: string, comma: string): HTMLElement {
  const [head = [], ...rows] = parseCsv(text, comma, ROWS + 1);
  const isNumber = (cell: string): boolean => cell !== "" && !Number.isNaN(Number(cell));
  const numeric = head.map((_, index) => rows.length > 0 && rows.every((row) => !row[index] || isNumber(row[index])));
  const cls = (index: number): string | null => (numeric[index] ? "pbr-num" : null);
  return h(
    "div",
    null,
    h(
      "div",
      { class: "pbr-scroll pbr-csv", tabindex: 0, role: "region", "aria-label": "Content" },
      h(
        "table",
        { class: "pbr-table" },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            head.map((cell, index) => h("th", { scope: "col", class: cls(index) }, cell)),
          ),
        ),
        h(
          "tbody",
          null,
          rows.map((row) =>
            h(
              "tr",
              null,
              row.map((cell, index) => h("td", { class: cls(index) }, cell)),
            ),
          ),
        ),
      ),
    ),
    note(rows.length >= ROWS ? `The first ${plural(ROWS, "row")}.` : plural(rows.length, "row")),
  );
}
