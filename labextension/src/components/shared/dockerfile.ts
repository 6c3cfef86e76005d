// The colours of a Dockerfile, line by line: instructions, flags, variables, heredocs, and the shell or Python in RUN;
// and those of a script for `%%build run`.

import { python } from "@codemirror/legacy-modes/mode/python";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import type { StreamParser, StringStream } from "@codemirror/language";

export const INSTRUCTIONS = new Set(
  "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split(
    " ",
  ),
);
const MAGIC = /^\s*%%build(?=\s|$)/;
const SCRIPT = /^\s*%%build\s+run(?=\s|$)/;
const PYTHON = /\bpython[\d.]*\b/;
const VARIABLE = /^\$(?:\w+|\{[^}]*\})/;
const HEREDOC = /^<<(-?)(["']?)([A-Za-z_][\w.-]*)\2/;

type Language = "shell" | "python" | "text";

interface Heredoc {
  name: string;
  /** Whether tabs before the word that ends it are ignored: `<<-`. */
  chomp: boolean;
}

export interface State {
  where: "start" | "magic" | "line" | "body";
  /** Whether what follows the line of the magic is a script for `%%build run`. */
  script: boolean;
  /** Whether a line like `# escape=` is still a directive: only such lines precede it. */
  directives: boolean;
  escape: string;
  /** Whether the line continues on the next one. */
  continued: boolean;
  instruction: string;
  /** The kind of word that comes next on the line of an instruction. */
  part: "flags" | "value" | "words" | "stage" | "json" | "shell";
  heredocs: Heredoc[];
  /** The language of the heredocs of this instruction. */
  language: Language;
  inner: unknown;
  quote: string;
}

const modes = { shell, python };

/** Return whether the text of a cell is a Dockerfile to build, or a script to run. */
export const isBuildCell = (text: string): boolean => MAGIC.test(text);
/** Return whether the text of a cell is a script to run. */
export const isScriptCell = (text: string): boolean => SCRIPT.test(text);

function startState(): State {
  return {
    where: "start",
    script: false,
    directives: true,
    escape: "\\",
    continued: false,
    instruction: "",
    part: "flags",
    heredocs: [],
    language: "shell",
    inner: null,
    quote: "",
  };
}

/** Start an instruction: a line that continues no other one. */
function beginLine(stream: StringStream, state: State): void {
  if (state.where === "body") return;
  if (state.continued) {
    state.continued = false;
    return;
  }
  state.inner = null;
  state.quote = "";
  const isScript = state.where === "magic" && state.script;
  state.where = isScript || state.heredocs.length ? "body" : "start";
  // The first line of a script may name its interpreter.
  if (state.where === "body" && (isScript || state.instruction === "RUN") && /^#!/.test(stream.string)) {
    state.language = PYTHON.test(stream.string) ? "python" : "shell";
  }
}

function token(stream: StringStream, state: State): string | null {
  if (stream.sol()) beginLine(stream, state);
  if (state.where === "body") return body(stream, state);
  if (stream.sol()) {
    if (MAGIC.test(stream.string)) {
      state.where = "magic";
      state.script = isScriptCell(stream.string);
    }
    const rest = stream.string.trimStart();
    // A comment inside an instruction is no part of it, and does not end it.
    if (rest.startsWith("#") && state.where !== "magic") return comment(stream, state, rest);
    // The line of the magic continues with a backslash, whatever escape the Dockerfile sets.
    state.continued = state.where === "magic" ? rest.endsWith("\\") : rest.trimEnd().endsWith(state.escape);
    if (rest === "") state.continued = state.where === "line";
  }
  if (stream.eatSpace()) return null;
  if (state.where === "magic") return magic(stream, state);
  if (state.continued && stream.string.slice(stream.pos).trim() === state.escape) {
    stream.skipToEnd();
    return "operator";
  }
  return state.where === "start" ? keyword(stream, state) : argument(stream, state);
}

function comment(stream: StringStream, state: State, text: string): string {
  const inside = state.where === "line";
  stream.skipToEnd();
  const directive = state.directives && !inside ? /^#\s*(syntax|escape|check)\s*=\s*(\S*)/i.exec(text) : null;
  state.directives = directive !== null;
  if (directive?.[1]?.toLowerCase() === "escape" && directive[2]) state.escape = directive[2];
  // The word that it is part of continues after it.
  if (inside) state.continued = true;
  return directive ? "meta" : "comment";
}

function magic(stream: StringStream, state: State): string | null {
  if (state.continued && stream.match(/^\\$/)) return "operator";
  if (stream.match(/^%%build/)) return "meta";
  if (stream.match(/^--?[A-Za-z][\w-]*/)) return "attribute";
  if (stream.match(VARIABLE) || stream.match(/^\{[^}]*\}/)) return "variable-2";
  if (stream.match(/^(["']).*?(\1|$)/)) return "string";
  if (stream.match(/^[\w.-]+(?==)/)) return "property";
  if (stream.match(/^[=,]/)) return "operator";
  if (!stream.match(/^[^\s=,$"'{]+/)) stream.next();
  return null;
}

function keyword(stream: StringStream, state: State): string | null {
  state.directives = false;
  const word = stream.match(/^\S+/) as RegExpMatchArray | null;
  const name = word ? word[0].toUpperCase() : "";
  state.where = "line";
  state.instruction = name;
  state.part = "flags";
  state.language = name === "RUN" ? "shell" : "text";
  if (!INSTRUCTIONS.has(name)) return null;
  if (name === "ONBUILD") state.where = "start";
  return "keyword";
}

function argument(stream: StringStream, state: State): string | null {
  if (state.part === "flags") {
    if (stream.match(/^--[\w-]+/)) {
      state.part = "value";
      return "attribute";
    }
    state.part = firstPart(stream, state);
  }
  if (state.part === "value") return flagValue(stream, state);
  if (state.part === "json") return json(stream);
  const heredoc = opening(stream, state);
  if (heredoc) return heredoc;
  return state.part === "shell" ? nested(stream, state, "shell") : plain(stream, state);
}

function firstPart(stream: StringStream, state: State): State["part"] {
  const { instruction } = state;
  if (["RUN", "CMD", "ENTRYPOINT", "SHELL", "VOLUME", "COPY", "ADD"].includes(instruction) && stream.peek() === "[") {
    return "json";
  }
  if (["RUN", "CMD", "ENTRYPOINT"].includes(instruction)) return "shell";
  return "words";
}

/** Read the value of a flag, up to the next space: `=type=cache,target=/x`. */
function flagValue(stream: StringStream, state: State): string | null {
  const end = (): void => {
    if (stream.eol() || /\s/.test(stream.peek() ?? "")) state.part = "flags";
  };
  if (stream.match(/^[=,]/)) {
    end();
    return "operator";
  }
  if (stream.match(VARIABLE)) {
    end();
    return "variable-2";
  }
  if (stream.match(/^[\w-]+(?==)/)) return "property";
  if (!stream.match(/^(?:"[^"]*"|[^\s=,$])+/)) stream.next();
  end();
  return "string";
}

function json(stream: StringStream): string | null {
  if (stream.match(/^"(?:[^"\\]|\\.)*"?/)) return "string";
  if (stream.match(/^[[\],]/)) return "bracket";
  stream.next();
  return null;
}

/** Read `<<EOF`: the lines after the instruction are its content, up to a line that is `EOF`. */
function opening(stream: StringStream, state: State): string | null {
  if (!["RUN", "COPY", "ADD"].includes(state.instruction) || state.quote || isInString(state)) return null;
  const before = stream.string.slice(0, stream.pos);
  const heredoc = before.endsWith("<") ? null : (stream.match(HEREDOC) as RegExpMatchArray | null);
  if (!heredoc) return null;
  state.heredocs.push({ name: heredoc[3] ?? "", chomp: heredoc[1] === "-" });
  // `RUN <<EOF python3` and `RUN python3 <<EOF` give it to Python; `RUN cat <<EOF > file` is text.
  const command = (stream.string.slice(0, stream.start).replace(/^.*?RUN\b/i, "") + stream.string.slice(stream.pos)).trim();
  if (state.instruction === "RUN" && state.heredocs.length === 1 && command) {
    state.language = PYTHON.test(command) ? "python" : /^(?:\S*\/)?(?:ba|da|z|a)?sh\b/.test(command) ? "shell" : "text";
  }
  return "string-2";
}

const isInString = (state: State): boolean => ((state.inner as { tokens?: unknown[] } | null)?.tokens?.length ?? 0) > 0;

function plain(stream: StringStream, state: State): string | null {
  const { instruction } = state;
  if (state.quote) {
    const closing = new RegExp(`^(?:\\\\.|[^\\\\${state.quote}$])*`);
    if (stream.match(VARIABLE)) return "variable-2";
    stream.match(closing);
    const next = stream.peek();
    if (next === state.quote) {
      stream.next();
      state.quote = "";
    } else if (next && !stream.match(VARIABLE, false)) stream.next();
    return "string";
  }
  if (stream.match(VARIABLE)) return "variable-2";
  if (stream.match(/^["']/)) {
    state.quote = stream.current();
    return "string";
  }
  if (instruction === "FROM") {
    if (stream.match(/^as(?=\s|$)/i)) {
      state.part = "stage";
      return "keyword";
    }
    if (stream.match(/^[^\s$]+/)) return state.part === "stage" ? "def" : "string";
  }
  if (instruction === "HEALTHCHECK" && stream.match(/^(CMD|NONE)(?=\s|$)/i)) {
    state.instruction = "CMD";
    state.part = "flags";
    return "keyword";
  }
  if (["ENV", "ARG", "LABEL"].includes(instruction)) {
    if (stream.match(/^[\w.\-/]+(?==)/)) return "def";
    if (instruction === "ARG" && stream.match(/^\w+(?=\s|$)/)) return "def";
    if (stream.match(/^=/)) return "operator";
  }
  if (instruction === "EXPOSE" && stream.match(/^\d+(?:-\d+)?/)) return "number";
  if (!stream.match(/^[^\s$"'=<]+/)) stream.next();
  return null;
}

function nested(stream: StringStream, state: State, language: Exclude<Language, "text">): string | null {
  const mode = modes[language] as StreamParser<unknown>;
  if (language === "shell" && !isInString(state) && stream.match(/^(?:&&|\|\||[|;])/)) return "operator";
  state.inner ??= mode.startState?.(4) ?? {};
  return mode.token(stream, state.inner);
}

function body(stream: StringStream, state: State): string | null {
  const [heredoc] = state.heredocs;
  if (stream.sol() && heredoc) {
    const line = heredoc.chomp ? stream.string.replace(/^\t+/, "") : stream.string;
    if (line.trimEnd() === heredoc.name) {
      stream.skipToEnd();
      state.heredocs = state.heredocs.slice(1);
      state.inner = null;
      if (!state.heredocs.length) {
        state.where = "start";
        state.continued = false;
      }
      return "string-2";
    }
  }
  if (state.language !== "text") return nested(stream, state, state.language);
  if (stream.match(VARIABLE)) return "variable-2";
  if (!stream.match(/^[^$]+/)) stream.next();
  return "string";
}

/** Return a copy of the state of a mode, with lists of its own, as CodeMirror makes it. */
function copyInner(state: unknown): unknown {
  if (typeof state !== "object" || state === null) return state;
  const fields = Object.entries(state).map(([name, value]: [string, unknown]) => [
    name,
    Array.isArray(value) ? (value as unknown[]).slice() : value,
  ]);
  return Object.fromEntries(fields);
}

export const dockerfile: StreamParser<State> = {
  name: "dockerfile",
  startState,
  copyState: (state) => ({ ...state, heredocs: [...state.heredocs], inner: copyInner(state.inner) }),
  token,
  languageData: { commentTokens: { line: "#" }, closeBrackets: { brackets: ["(", "[", "{", "'", '"'] } },
};
