// Every word of a Dockerfile gets the colour that it has in an editor made for it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readFileSync } from "node:fs";
import { StringStream } from "@codemirror/language";
import { instructionWords } from "../src/components/shared/code";
import { wordsOf } from "../src/components/shared/line";
import { dockerfile, isBuildCell } from "../src/components/shared/dockerfile";

/** The words of each line with their styles, as a page without an editor reads them. */
function stylesOnPage(text: string): string[] {
  const state = dockerfile.startState?.(2);
  return text.split("\n").map((line) => {
    const words = [...wordsOf(line, (stream) => dockerfile.token(stream, state as never))];
    assert.equal(words.map(([word]) => word).join(""), line);
    return words.flatMap(([word, style]) => (style ? [`${word}:${style}`] : [])).join(" ");
  });
}

/** The words of each line with their styles: `FROM:keyword busybox:string`. */
function styles(text: string): string[] {
  let state = dockerfile.startState?.(2);
  assert.ok(state);
  return text.split("\n").map((line) => {
    const words: string[] = [];
    const stream = new StringStream(line, 2, 2);
    while (!stream.eol()) {
      const style = dockerfile.token(stream, state as never);
      assert.ok(stream.pos > stream.start, `no way on in ${JSON.stringify(line)} at ${stream.pos}`);
      if (style) words.push(`${stream.current()}:${style}`);
      stream.start = stream.pos;
    }
    // What an editor does between two lines: states are copied, and the copy goes on.
    state = dockerfile.copyState?.(state as never);
    return words.join(" ");
  });
}

test("a cell to build begins with the magic", () => {
  assert.ok(isBuildCell("%%build"));
  assert.ok(isBuildCell("\n%%build -t x .\nFROM scratch"));
  assert.ok(!isBuildCell("%%builder"));
  assert.ok(!isBuildCell("x = 1\n%%build"));
});

const CASES: [string, string, string[]][] = [
  [
    "the magic line",
    "%%build -t app -o type=oci,dest=a.tar $site",
    ["%%build:meta -t:attribute -o:attribute type:property =:operator ,:operator dest:property =:operator $site:variable-2"],
  ],
  [
    "a magic line that goes on",
    "%%build -t app \\\n  -o type=oci,dest=a.tar \\\n  # \nFROM scratch",
    [
      "%%build:meta -t:attribute \\:operator",
      "-o:attribute type:property =:operator ,:operator dest:property =:operator \\:operator",
      "",
      "FROM:keyword scratch:string",
    ],
  ],
  [
    "a script in Python",
    "%%build run -d --name visits python\n#!/usr/bin/python3\nfrom sys import argv\n\nprint('COPY', 1)  # all",
    [
      "%%build:meta -d:attribute --name:attribute",
      "#!/usr/bin/python3:comment",
      "from:keyword sys:variable import:keyword argv:variable",
      "",
      "print:builtin 'COPY':string 1:number # all:comment",
    ],
  ],
  [
    "a script of the shell whose words are no instructions",
    '%%build run \\\n  busybox\nFROM=1\necho "$FROM" | cat',
    [
      "%%build:meta \\:operator",
      "",
      "FROM:def =:operator 1:number",
      'echo:builtin ":string $FROM:def ":string |:operator cat:builtin',
    ],
  ],
  [
    "stages",
    "FROM --platform=$BUILDPLATFORM golang:1.22 AS build\nfrom build",
    [
      "FROM:keyword --platform:attribute =:operator $BUILDPLATFORM:variable-2 golang:1.22:string AS:keyword build:def",
      "from:keyword build:string",
    ],
  ],
  [
    "directives, comments and another escape",
    "# syntax=docker/dockerfile:1\n# escape=`\n# a comment\nRUN a `\n# in it\n  b\nUSER me",
    [
      "# syntax=docker/dockerfile:1:meta",
      "# escape=`:meta",
      "# a comment:comment",
      "RUN:keyword `:operator",
      "# in it:comment",
      "",
      "USER:keyword",
    ],
  ],
  [
    "shell over several lines",
    'RUN --mount=type=cache,target=/x if true; \\\n  then echo "$HOME" \'a\\\n b\'; fi',
    [
      "RUN:keyword --mount:attribute =:operator type:property =:operator cache:string ,:operator target:property =:operator /x:string if:keyword true:atom ;:operator \\:operator",
      "then:keyword echo:builtin \":string $HOME:def \":string 'a\\:string",
      "b':string ;:operator fi:keyword",
    ],
  ],
  ["exec form", 'CMD ["python", "-m", "x"]', ['CMD:keyword [:bracket "python":string ,:bracket "-m":string ,:bracket "x":string ]:bracket']],
  [
    "names and values",
    'ENV A="b ${C:-d}" E=f\nARG N\nLABEL a.b-c=1\nEXPOSE 80/tcp 90-91',
    [
      'ENV:keyword A:def =:operator ":string b :string ${C:-d}:variable-2 ":string E:def =:operator',
      "ARG:keyword N:def",
      "LABEL:keyword a.b-c:def =:operator",
      "EXPOSE:keyword 80:number 90-91:number",
    ],
  ],
  [
    "a heredoc of shell",
    "RUN <<EOF\nif true; then\n  echo FROM\nfi\nEOF\nFROM x",
    ["RUN:keyword <<EOF:string-2", "if:keyword true:atom ;:operator then:keyword", "echo:builtin", "fi:keyword", "EOF:string-2", "FROM:keyword x:string"],
  ],
  [
    "a heredoc of Python",
    "RUN python3 <<EOF\nimport os\nEOF\nRUN <<EOF\n#!/usr/bin/env python3\nimport os\nEOF",
    ["RUN:keyword <<EOF:string-2", "import:keyword os:variable", "EOF:string-2", "RUN:keyword <<EOF:string-2", "#!/usr/bin/env python3:comment", "import:keyword os:variable", "EOF:string-2"],
  ],
  [
    "files in heredocs, two of them, one with tabs",
    "COPY <<-A <<'B' /x/\nRUN $a\n\tA\nFROM b\nB\nUSER c",
    ["COPY:keyword <<-A:string-2 <<'B':string-2", "RUN :string $a:variable-2", "\tA:string-2", "FROM b:string", "B:string-2", "USER:keyword"],
  ],
  ["an instruction in another", "ONBUILD RUN true\nHEALTHCHECK --interval=5s CMD echo x", ["ONBUILD:keyword RUN:keyword true:atom", "HEALTHCHECK:keyword --interval:attribute =:operator 5s:string CMD:keyword echo:builtin"]],
  ["no word that it does not know", "RUNX echo\nCOPY . .", ["", "COPY:keyword"]],
];

for (const [name, text, expected] of CASES) {
  test(`colours ${name}`, () => {
    assert.deepEqual(styles(text), expected);
    assert.deepEqual(stylesOnPage(text), expected, "a card has the colours of a cell");
  });
}

test("an instruction has the colours that static pages give it", () => {
  const cases = JSON.parse(readFileSync("../tests/display/data/instructions.json", "utf8")) as { text: string; words: [string, string][] }[];
  for (const { text, words } of cases) assert.deepEqual(instructionWords(text), words, text);
});
