// Dockerfiles, shell commands and JSON in colours: text in spans. The words are those of the editor's modes.

import { shell as shellMode } from "@codemirror/legacy-modes/mode/shell";
import type { StringStream } from "@codemirror/language";
import { own } from "../../document";
import { h } from "../../dom";
import type { Child } from "../../dom";
import { INSTRUCTIONS, dockerfile as dockerfileMode } from "./dockerfile";
import { wordsOf } from "./line";

const LONGEST = 4000; // letters of a line in colours
/** What a style of the modes is here; a word of another one has no colour. */
const KINDS: Record<string, string> = {
  keyword: "keyword",
  attribute: "flag",
  string: "string",
  "string-2": "string",
  "string.special": "string",
  quote: "string",
  def: "def",
  "variable-2": "variable",
  number: "number",
  builtin: "builtin",
  operator: "operator",
  comment: "comment",
  meta: "comment",
};

const span = (kind: string, text: string): HTMLElement => h("span", { class: `pbr-${kind}` }, text);

type Token = (stream: StringStream) => string | null;
/** A word with its kind; "" for one without a colour. */
type Word = [text: string, kind: string];

/** Return the words of a line, of which neighbours of one kind are one. */
function kinds(text: string, token: Token): Word[] {
  if (text.length > LONGEST) return [[text, ""]];
  const words: Word[] = [];
  for (const [word, style] of wordsOf(text, token)) {
    const kind = (style && own(KINDS, style)) || "";
    const last = words.at(-1);
    if (last?.[1] === kind) last[0] += word;
    else words.push([word, kind]);
  }
  return words;
}

const coloured = (text: string, token: Token): Child[] => kinds(text, token).map(([word, kind]) => (kind ? span(kind, word) : word));

const isInstruction = (text: string): boolean => {
  const [word = ""] = text.trimStart().split(/\s/, 1);
  return INSTRUCTIONS.has(word.toUpperCase()) || word.startsWith("#");
};

/** Return the words of an instruction in one line; pybuild_magic/display/code.py has the same rule. */
export function instructionWords(text: string): Word[] {
  return isInstruction(text) ? kinds(text, dockerfileToken()) : [[text, ""]];
}

function dockerfileToken(): Token {
  const state = dockerfileMode.startState?.(2) as Parameters<typeof dockerfileMode.token>[1];
  return (stream) => dockerfileMode.token(stream, state);
}

/** Return the words of a command. */
export function shell(text: string): Child[] {
  const state: unknown = shellMode.startState?.(2);
  return text.split("\n").flatMap((line, index) => [index ? "\n" : "", ...coloured(line, (stream) => shellMode.token(stream, state))]);
}

/** Return the lines of a Dockerfile, each as an element. */
export function dockerfileLines(lines: string[]): HTMLElement[] {
  const token = dockerfileToken();
  return lines.map((line) => h("code", { class: "pbr-instruction" }, coloured(line, token)));
}

/** Return an instruction of a Dockerfile, or the name of a step that is no instruction. */
export function dockerfile(text: string): HTMLElement {
  if (isInstruction(text)) {
    const [first, ...rest] = dockerfileLines(text.split("\n")) as [HTMLElement, ...HTMLElement[]];
    for (const line of rest) first.append("\n", ...line.childNodes);
    return first;
  }
  // The history of an image has commands of RUN without the word.
  return h("code", { class: "pbr-instruction" }, /^\s*\/bin\/\w*sh(?:\s|$)/.test(text) ? shell(text) : text);
}

const JSON_TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d[\d.eE+-]*)/g;

/** Return JSON text, indented; a string that `open` returns an action for becomes a button. */
export function json(text: string, open?: (value: string) => (() => void) | undefined): HTMLElement {
  let pretty = text;
  try {
    pretty = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Not JSON, or cut short: show it as it is.
  }
  const parts: Child[] = [];
  let end = 0;
  for (const match of pretty.matchAll(JSON_TOKEN)) {
    parts.push(pretty.slice(end, match.index));
    end = match.index + match[0].length;
    const [whole, string, colon] = match;
    const value = string?.slice(1, -1) ?? "";
    const action = string && !colon ? open?.(value) : undefined;
    if (action)
      parts.push('"', h("button", { type: "button", class: "pbr-link pbr-code", onclick: action }, value), '"');
    else if (string && colon) parts.push(span("key", string), colon);
    else parts.push(span(string ? "string" : "number", whole));
  }
  parts.push(pretty.slice(end));
  return h("pre", { class: "pbr-pre", tabindex: 0 }, h("code", null, parts));
}
