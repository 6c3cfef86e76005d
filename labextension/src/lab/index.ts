// The JupyterLab plugins.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { IRenderMimeRegistry } from "@jupyterlab/rendermime";
import { editorPlugin } from "./editorplugin";
import { filesPlugin } from "./files";
import { Helper } from "./helper";
import { rendererFactory } from "./mime";
import { panelPlugin } from "./panel";
import { wayInPlugin } from "./wayin";

const rendererPlugin: JupyterFrontEndPlugin<void> = {
  id: "pybuild_magic:renderer",
  description: "Draws the results of builds.",
  autoStart: true,
  requires: [IRenderMimeRegistry],
  activate: (_app, rendermime: IRenderMimeRegistry) => rendermime.addFactory(rendererFactory),
};

let helper: Helper | null = null;
const helperOf = (app: JupyterFrontEnd): Helper => (helper ??= new Helper(app.serviceManager));

const plugins: JupyterFrontEndPlugin<void>[] = [rendererPlugin, editorPlugin, filesPlugin(helperOf), panelPlugin(helperOf), wayInPlugin];

export default plugins;
