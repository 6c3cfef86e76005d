// The Request tab: the equivalent command of buildx, and the request to the builder.

import { h } from "../../dom";
import type { Child } from "../../dom";
import { dockerfile, dockerfileLines, json, shell } from "../shared/code";
import { copyButton } from "../shared/digest";
import type { Panel } from "../shared/tabs";
import type { View } from "./view";

/** Return a command in colours; its here-document is a Dockerfile. */
function colours(command: string): Child {
  const lines = command.split("\n");
  const note = lines[0]?.startsWith("# ") ? [dockerfile(lines.shift() ?? ""), "\n"] : null;
  const [first = "", ...rest] = lines;
  if (!first.includes("<<")) return [note, shell(lines.join("\n"))];
  return [note, shell(first), dockerfileLines(rest).map((line) => ["\n", line])];
}

export function requestTab(view: View): Panel {
  const { command, request } = view.summary;
  return {
    node: h(
      "div",
      null,
      command
        ? [
            h("h3", null, "The same with docker", copyButton(command, "command")),
            h("pre", { class: "pbr-pre", tabindex: 0 }, h("code", null, colours(command))),
          ]
        : null,
      request
        ? [h("h3", null, "The SolveRequest sent to the builder", copyButton(request, "request")), json(request)]
        : null,
    ),
  };
}
