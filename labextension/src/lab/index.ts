// The JupyterLab plugins.

import type { JupyterFrontEndPlugin } from "@jupyterlab/application";
import { IRenderMimeRegistry } from "@jupyterlab/rendermime";
import { editorPlugin } from "./editorplugin";
import { rendererFactory } from "./mime";

const rendererPlugin: JupyterFrontEndPlugin<void> = {
  id: "pybuild_magic:renderer",
  description: "Draws the results of builds.",
  autoStart: true,
  requires: [IRenderMimeRegistry],
  activate: (_app, rendermime: IRenderMimeRegistry) => rendermime.addFactory(rendererFactory),
};

const plugins: JupyterFrontEndPlugin<unknown>[] = [rendererPlugin, editorPlugin];

export default plugins;
