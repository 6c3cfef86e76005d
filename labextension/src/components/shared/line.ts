// A line of text as the modes of CodeMirror read it, without the editor: the part of its StringStream that they use.

import type { StringStream } from "@codemirror/language";

const TRIES = 10;

class Line {
  pos = 0;
  start = 0;
  readonly tabSize = 4;
  readonly indentUnit = 2;

  constructor(readonly string: string) {}

  eol = (): boolean => this.pos >= this.string.length;
  sol = (): boolean => this.pos === 0;
  peek = (): string | undefined => this.string.charAt(this.pos) || undefined;
  next = (): string | undefined => (this.eol() ? undefined : this.string.charAt(this.pos++));
  current = (): string => this.string.slice(this.start, this.pos);
  column = (): number => this.start;
  indentation = (): number => this.string.length - this.string.trimStart().length;
  eatSpace = (): boolean => this.eatWhile(/\s/);

  eat(match: string | RegExp | ((letter: string) => boolean)): string | undefined {
    const letter = this.string.charAt(this.pos);
    const fits = typeof match === "string" ? letter === match : match instanceof RegExp ? match.test(letter) : match(letter);
    return letter && fits ? this.next() : undefined;
  }

  eatWhile(match: string | RegExp | ((letter: string) => boolean)): boolean {
    const begin = this.pos;
    while (this.eat(match));
    return this.pos > begin;
  }

  skipToEnd(): void {
    this.pos = this.string.length;
  }

  skipTo(letter: string): boolean {
    const place = this.string.indexOf(letter, this.pos);
    if (place >= 0) this.pos = place;
    return place >= 0;
  }

  backUp(count: number): void {
    this.pos -= count;
  }

  match(pattern: string | RegExp, consume = true, isCaseInsensitive = false): boolean | RegExpMatchArray | null {
    const rest = this.string.slice(this.pos);
    if (typeof pattern === "string") {
      const head = rest.slice(0, pattern.length);
      const fits = isCaseInsensitive ? head.toLowerCase() === pattern.toLowerCase() : head === pattern;
      if (fits && consume) this.pos += pattern.length;
      return fits || null;
    }
    const match = pattern.exec(rest);
    if (!match || match.index > 0) return null;
    if (consume) this.pos += match[0].length;
    return match;
  }
}

/** Yield the words of a line with their styles; `token` is that of a mode, with its state. */
export function* wordsOf(text: string, token: (stream: StringStream) => string | null): Generator<[word: string, style: string | null]> {
  const line = new Line(text);
  while (!line.eol()) {
    let style: string | null = null;
    // A mode that only finds what begins here is asked again, as the editor does; one that takes nothing would never end.
    for (let tries = 0; tries < TRIES && line.pos <= line.start; tries++) style = token(line as unknown as StringStream);
    if (line.pos <= line.start) line.next();
    yield [line.current(), style];
    line.start = line.pos;
  }
}
