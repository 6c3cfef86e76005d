// A line that a program printed, as a terminal would show it: colours as spans, overprinting resolved.

/** A colour: one of the 256 of a terminal, or a colour of 24 bits. */
export type Color = number | readonly [number, number, number];

/** The look of text. Two styles are equal only if they are the same object. */
export interface Style {
  readonly fg?: Color;
  readonly bg?: Color;
  readonly bold?: boolean;
  readonly dim?: boolean;
  readonly italic?: boolean;
  readonly underline?: boolean;
  readonly strike?: boolean;
  readonly inverse?: boolean;
}

/** Text of one style. */
export interface Piece {
  text: string;
  style: Style;
}

export const PLAIN: Style = {};

const styles = new Map<string, Style>([["{}", PLAIN]]);
const MAX_KNOWN = 4096;
const MAX_COLUMN = 4096;

// Escape sequences by their classes in ECMA-48, so that unknown ones are read whole, too: CSI, OSC, other strings.
const SEQUENCE =
  /\x1b(?:\[([0-?]*)[ -/]*([@-~]?)|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~]?)/y;
const SPECIAL = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/;
// Sequences that move the cursor. Any other changes at most the style.
const MOVES = /[\r\x08]|\x1b\[[0-?]*[CDGKP]/;
// Characters that change the direction of the text around them, with which a log could be made to look like another.
const DIRECTION = /[\u202a-\u202e\u2066-\u2069]/g;

function intern(style: Style): Style {
  const key = JSON.stringify(style);
  const known = styles.get(key);
  if (known) return known;
  if (styles.size < MAX_KNOWN) styles.set(key, style);
  return style;
}

/** Return the pieces of a line, and the style with which the next line begins. */
export function pieces(line: string, style: Style = PLAIN): { pieces: Piece[]; style: Style } {
  line = line.replace(DIRECTION, "\ufffd");
  if (!SPECIAL.test(line)) return { pieces: line ? [{ text: line, style }] : [], style };
  return MOVES.test(line) ? overprinted(line, style) : colored(line, style);
}

/** Return the text of a line, without its styles. */
export function plainText(line: string): string {
  return pieces(line)
    .pieces.map((piece) => piece.text)
    .join("");
}

/** Yield the characters and the sequences of a line, in order. */
function scan(line: string, text: (char: string) => void, sequence: (parameters: string, final: string) => void): void {
  for (let position = 0; position < line.length; ) {
    if (line[position] === "\x1b") {
      SEQUENCE.lastIndex = position;
      const match = SEQUENCE.exec(line);
      position = match ? SEQUENCE.lastIndex : position + 1;
      if (match?.[2]) sequence(match[1] ?? "", match[2]);
    } else {
      const char = String.fromCodePoint(line.codePointAt(position) ?? 0);
      position += char.length;
      text(char);
    }
  }
}

function colored(line: string, style: Style): { pieces: Piece[]; style: Style } {
  const out: Piece[] = [];
  let last: Piece | undefined;
  scan(
    line,
    (char) => {
      if (SPECIAL.test(char)) return;
      if (last?.style !== style) out.push((last = { text: "", style }));
      last.text += char;
    },
    (parameters, final) => {
      if (final === "m") style = graphic(style, parameters);
    },
  );
  return { pieces: out, style };
}

/** Return a line with carriage returns, backspaces or cursor movements as the cells of a terminal. */
function overprinted(line: string, style: Style): { pieces: Piece[]; style: Style } {
  let cells: Piece[] = [];
  let column = 0;
  const write = (char: string): void => {
    if (char === "\r") column = 0;
    else if (char === "\b") column = Math.max(0, column - 1);
    else if (!SPECIAL.test(char)) {
      while (cells.length < column) cells.push({ text: " ", style: PLAIN });
      cells[column] = { text: char, style };
      column += 1;
    }
  };
  scan(line, write, (parameters, final) => {
    const count = Math.min(MAX_COLUMN, Math.max(1, parseInt(parameters, 10) || 1));
    if (final === "m") style = graphic(style, parameters);
    else if (final === "C") column = Math.min(MAX_COLUMN, column + count);
    else if (final === "D") column = Math.max(0, column - count);
    else if (final === "G") column = count - 1;
    else if (final === "P") cells.splice(column, count);
    else if (final === "K" && parameters === "2") cells = [];
    else if (final === "K" && parameters === "1") for (let index = 0; index <= column; index += 1) cells[index] = { text: " ", style: PLAIN };
    else if (final === "K") cells.length = Math.min(cells.length, column);
  });
  const out: Piece[] = [];
  for (const cell of cells) {
    const last = out[out.length - 1];
    if (last?.style === cell.style) last.text += cell.text;
    else out.push({ ...cell });
  }
  return { pieces: out, style };
}

type Flag = "bold" | "dim" | "italic" | "underline" | "strike" | "inverse";
const ON: Record<number, Flag> = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike", 21: "underline" };
const OFF: Record<number, string[]> = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

/** Return the style after `CSI parameters m`; unknown parameters change nothing. */
function graphic(style: Style, parameters: string): Style {
  const codes = parameters.split(/[;:]/).map((word) => parseInt(word, 10) || 0);
  let next: { -readonly [Key in keyof Style]: Style[Key] } = { ...style };
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index] ?? 0;
    const flag = ON[code];
    if (code === 0) next = {};
    else if (flag) next[flag] = true;
    else if (OFF[code]) next = Object.fromEntries(Object.entries(next).filter(([flag]) => !OFF[code]?.includes(flag)));
    else if (code >= 30 && code <= 37) next.fg = code - 30;
    else if (code >= 90 && code <= 97) next.fg = code - 82;
    else if (code >= 40 && code <= 47) next.bg = code - 40;
    else if (code >= 100 && code <= 107) next.bg = code - 92;
    else if (code === 39) delete next.fg;
    else if (code === 49) delete next.bg;
    else if (code === 38 || code === 48) {
      const byte = (offset: number): number => Math.min(255, Math.max(0, codes[index + offset] ?? 0));
      const isRGB = codes[index + 1] === 2;
      if ((!isRGB && codes[index + 1] !== 5) || codes.length < index + (isRGB ? 5 : 3)) break;
      const color: Color = isRGB ? [byte(2), byte(3), byte(4)] : byte(2);
      if (code === 38) next.fg = color;
      else next.bg = color;
      index += isRGB ? 4 : 2;
    }
  }
  return intern(next);
}
