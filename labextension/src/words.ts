// Sizes, durations, names, modes and media types in the words of people, as pybuild_magic/display/words.py says them: tests/display/data/words.json
// has the cases that both run.

import { own } from "./document";
import { OMISSIONS } from "./generated";

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Return a size in decimal units, in three digits: `1.39 MB`, `12.3 MB`. */
export function humanBytes(count: number): string {
  if (count < 999.5) return `${count.toFixed(0)} B`;
  let unit = 0;
  for (; count >= 999.95 && unit < UNITS.length - 1; unit += 1) count /= 1000;
  return `${count.toFixed(count < 9.995 ? 2 : 1)} ${UNITS[unit] ?? ""}`;
}

/** Return a duration in words. */
export function humanSeconds(value: number): string {
  if (value < 0.0005) return "0 s";
  if (value < 0.9995) return `${(value * 1000).toFixed(0)} ms`;
  if (value < 59.95) return `${value.toFixed(1)} s`;
  const whole = Math.floor(value + 0.05);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** Return a count with its noun: `1 layer`, `2 layers`, `3 entries`. */
export function plural(count: number, noun: string): string {
  const form = noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`;
  return `${count.toLocaleString("en-US")} ${count === 1 ? noun : form}`;
}

/** Return a note on what a result lacks and no part of its page mentions, and where it is; "" for nothing. */
export function leftOut(omitted: Readonly<Record<string, number>> = {}): string {
  const parts = OMISSIONS.flatMap(([kind, noun]) => {
    const count = own(omitted, kind);
    return count ? [noun.startsWith("the ") ? noun : plural(count, noun)] : [];
  });
  return parts.length ? `Left out, to keep the notebook small: ${parts.join(", ")}. In Python, the \`summary\` of the result has everything.` : "";
}

/** Return a text without its middle where it is longer than `limit`, cut between words. */
export function abridged(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const half = Math.floor(limit / 2);
  return `${text.slice(0, half).replace(/\s\S*$/, "")} … ${text.slice(-half).replace(/^\S*\s/, "")}`;
}

/** Return the twelve digits of a digest that people read. */
export function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1).slice(0, 12) || digest;
}

/** Return an image's name as people write it: `hello:latest` for `docker.io/library/hello:latest`. */
export function familiar(name: string): string {
  return name.replace(/^docker\.io\/(library\/)?/, "");
}

/** Return a step's name with its digests cut to the twelve digits that people read. */
export function shorten(name: string): string {
  return name.replace(/(sha256:[0-9a-f]{12})[0-9a-f]{52}/g, "$1…");
}

const LETTERS: Record<string, string> = { "0": "-", "1": "-", "2": "l", "3": "c", "4": "b", "5": "d", "6": "p" };

/** Return a mode as `ls -l` writes it: `drwxr-xr-x`. */
export function modeString(type: string, mode: number): string {
  const bits = [..."rwxrwxrwx"].map((letter, index) => (mode & (0o400 >> index) ? letter : "-"));
  if (mode & 0o4000) bits[2] = bits[2] === "x" ? "s" : "S";
  if (mode & 0o2000) bits[5] = bits[5] === "x" ? "s" : "S";
  if (mode & 0o1000) bits[8] = bits[8] === "x" ? "t" : "T";
  return (own(LETTERS, type) ?? "?") + bits.join("");
}

const PACKED: Record<string, string> = { gzip: "gzip", zstd: "zstd", estargz: "eStargz" };

/** Media types in words: the first few name one, the rest explain it. */
export function mediaTypeWords(type: string): string {
  const owner = type.includes("vnd.docker.") ? "Docker" : "OCI";
  if (/image\.index|manifest\.list/.test(type)) return `${owner} index: a list of manifests, one for each platform`;
  if (/image\.manifest|distribution\.manifest\.v2/.test(type)) return `${owner} manifest: a config and its layers`;
  if (/image\.config|container\.image\.v1/.test(type)) return `${owner} config: how to run it, and its history`;
  if (type.includes("in-toto")) return "Attestation: an in-toto statement about the image";
  if (/layer|rootfs\.diff/.test(type)) {
    const packed = Object.keys(PACKED).find((word) => type.endsWith(word));
    const how = packed ? `compressed with ${PACKED[packed] ?? packed}` : "not compressed";
    const foreign = /foreign|nondistributable/.test(type) ? ", never pushed" : "";
    return `${owner} layer, ${packed ?? "plain"}: a tar of what changed, ${how}${foreign}`;
  }
  return type ? "Custom media type" : "No media type";
}

const STEP =
  /^\[ *(?:([\w.-]+\/[\w.]+(?:\/[\w.]+)?(?:->[\w./]+)?) +)?(?:([^ \]]+) +)?([0-9]{1,9})\/([0-9]{1,9})\] ([^]*)$/;
const EXPORT = /^(?:(?:export|push|prepar|writ|send|copy|load)ing |importing to )/;
const PREPARE = /^(?:\[(?:internal|auth)\]|resolve image config|importing cache|inferred cache|docker-image:\/\/|local:\/\/)/;
const KINDS: Record<string, string> = { FROM: "source", RUN: "exec", COPY: "file", ADD: "file", WORKDIR: "file" };

/** The parts of a vertex's name, as in pybuild_magic/status/stepname.py. */
export interface NameParts {
  text: string;
  kind: string;
  stage: string;
  platform: string;
  number: number;
  count: number;
}

/** Split a name that BuildKit writes as `[linux/amd64 build 2/4] RUN make`; tests/display/data has the cases. */
export function nameParts(name: string): NameParts {
  const [, platform = "", stage = "", number = "0", count = "0", text = ""] = STEP.exec(name) ?? [];
  if (count !== "0" || number !== "0") {
    const kind = own(KINDS, (text.split(" ", 1)[0] ?? "").toUpperCase()) ?? "";
    return { text, kind, stage, platform, number: Number(number), count: Number(count) };
  }
  const kind = PREPARE.test(name) ? "internal" : name.startsWith("[context ") ? "source" : EXPORT.test(name) ? "export" : "";
  return { text: name, kind, stage: "", platform: "", number: 0, count: 0 };
}

/** Return whether a vertex is a step that people count: it neither prepares the build nor exports its result. */
export const isCounted = (name: string): boolean => !["internal", "export"].includes(nameParts(name).kind);

/** Return an instruction as its Dockerfile has it: in a FROM, BuildKit writes the whole name and the digest. */
export const instruction = (text: string): string =>
  shorten(text)
    .replace(/^FROM docker\.io\/(?:library\/)?/, "FROM ")
    .replace(/^(FROM \S+)@sha256:\S+/, "$1");

/** Return what a vertex is: `[stage 2/4] RUN make` is the step `2/4` of `stage`, and an instruction. */
export interface StepName {
  stage: string;
  place: string;
  text: string;
  internal: boolean;
}

export function stepName(name: string): StepName {
  const parts = nameParts(name);
  const label = parts.number ? null : /^\[([^\]]*)\]\s*/.exec(name);
  const text = instruction(label ? name.slice(label[0].length) : parts.text);
  return {
    stage: label?.[1] ?? [parts.platform, parts.stage].filter(Boolean).join(" "),
    place: parts.number ? `${parts.number}/${parts.count}` : "",
    text: text || name,
    internal: label?.[1] === "internal",
  };
}
