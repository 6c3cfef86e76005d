// The Request tab: the command of buildx that means the same, and what the builder was sent.

import { h } from "../../dom";
import { json, shell } from "../shared/code";
import { copyButton } from "../shared/digest";
import type { Panel } from "../shared/tabs";
import type { View } from "./view";

export function requestTab(view: View): Panel {
  const { command, request } = view.summary;
  return {
    node: h(
      "div",
      null,
      command
        ? [
            h("h3", null, "The same with docker", copyButton(command, "command")),
            h("pre", { class: "pbr-pre", tabindex: 0 }, h("code", null, shell(command))),
          ]
        : null,
      request
        ? [h("h3", null, "SolveRequest, as the builder takes it", copyButton(request, "request")), json(request)]
        : null,
    ),
  };
}
