// Dockerfile instructions, shell commands and JSON in colours: text in spans.

import { h } from "../../dom";
import type { Child } from "../../dom";

const KEYWORDS = new Set(
  "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split(
    " ",
  ),
);
const TOKEN = /("(?:[^"\\]|\\.)*"|'[^']*')|((?:^|(?<=\s))--?[\w-]+)|(\$\{[^}]*\}|\$\w+)|(&&|\|\||[|;])/g;
const LONGEST = 4000;

const span = (kind: string, text: string): HTMLElement => h("span", { class: `pbr-${kind}` }, text);

/** Return the words of a command: strings, flags, variables and operators. */
export function shell(text: string): Child[] {
  if (text.length > LONGEST) return [text];
  const parts: Child[] = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    parts.push(text.slice(end, match.index));
    const kind = match[1] ? "string" : match[2] ? "flag" : match[3] ? "variable" : "operator";
    parts.push(span(kind, match[0]));
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return parts;
}

/** Return an instruction of a Dockerfile, or the name of a step that is no instruction. */
export function dockerfile(text: string): HTMLElement {
  const word = /^\s*([A-Za-z]+)(?=\s|$)/.exec(text);
  const name = word?.[1] ?? "";
  const code = h("code", { class: "pbr-instruction" });
  if (word && KEYWORDS.has(name.toUpperCase())) {
    const rest = text.slice(word[0].length).split(/(\sAS\s)/i);
    code.append(word[0].slice(0, -name.length), span("keyword", name));
    for (const part of rest)
      code.append(
        ...nodes(/^\sas\s$/i.test(part) && name.toUpperCase() === "FROM" ? [span("keyword", part)] : shell(part)),
      );
  } else if (/^\s*#/.test(text)) code.append(span("comment", text));
  else code.append(...nodes(shell(text)));
  return code;
}

const nodes = (parts: Child[]): (Node | string)[] =>
  parts.filter((part): part is Node | string => part instanceof Node || typeof part === "string");

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
