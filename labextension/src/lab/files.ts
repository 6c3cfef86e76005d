// Entries of the file browser and of cells: archives and layouts to explore, Dockerfiles to and from notebooks.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { Dialog, ICommandPalette, InputDialog, Notification, showDialog, showErrorMessage } from "@jupyterlab/apputils";
import { PageConfig, PathExt } from "@jupyterlab/coreutils";
import { IFileBrowserFactory } from "@jupyterlab/filebrowser";
import { INotebookTracker } from "@jupyterlab/notebook";
import type { Contents } from "@jupyterlab/services";
import type { JSONObject } from "@lumino/coreutils";
import { isBuildCell } from "../components/shared/dockerfile";
import { ExplorerFactory, FILE_TYPES, ImageModelFactory } from "./explorer";
import { pythonSpec } from "./helper";
import type { Helper } from "./helper";

const OPEN_AS_NOTEBOOK = "pybuild-magic:open-as-notebook";
const SAVE_CELL = "pybuild-magic:save-cell-as-dockerfile";
const CATEGORY = "Images";

/** The line that brings the magics to a notebook. */
export const LOAD = "%load_ext pybuild_magic";

/** Return the Dockerfile in a cell: the lines below that of the magic. */
export const dockerfileOf = (cell: string): string => `${cell.trim().split("\n").slice(1).join("\n").trim()}\n`;

/** Return a notebook of code cells. */
function notebookOf(sources: string[], kernelspec: JSONObject | null): JSONObject {
  const cell = (source: string): JSONObject => ({ cell_type: "code", execution_count: null, metadata: {}, outputs: [], source });
  return {
    cells: sources.map(cell),
    metadata: kernelspec ? { kernelspec } : {},
    nbformat: 4,
    nbformat_minor: 4,
  };
}

/** Return a name for the image of a Dockerfile: `web` of `web.Dockerfile` and `Dockerfile.web`, else its directory's. */
export function tagOf(path: string): string {
  const own = PathExt.basename(path).replace(/(^|\.)(Dockerfile|Containerfile)(\.|$)/, "");
  const directory = PathExt.basename(PathExt.dirname(path) || PageConfig.getOption("serverRoot"));
  const name = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  return name(own) || name(directory) || "image";
}

/** Create a notebook of code cells in a directory, and open it. */
export async function newNotebook(app: JupyterFrontEnd, directory: string, sources: string[]): Promise<unknown> {
  const { contents, kernelspecs } = app.serviceManager;
  await kernelspecs.ready;
  const spec = pythonSpec(kernelspecs);
  const file = await contents.newUntitled({ path: directory, type: "notebook" });
  const kernelspec = spec && { name: spec.name, display_name: spec.display_name, language: spec.language };
  const content = notebookOf(sources, kernelspec);
  await contents.save(file.path, { type: "notebook", format: "json", content });
  return app.commands.execute("docmanager:open", { path: file.path, factory: "Notebook" });
}

/** Create a notebook with the text of a Dockerfile in a cell, in the same directory, and open it. */
export async function openAsNotebook(app: JupyterFrontEnd, path: string): Promise<unknown> {
  const file = await app.serviceManager.contents.get(path, { type: "file", format: "text", content: true });
  const cell = `%%build -t ${tagOf(path)} .\n${(file.content as string).trimEnd()}`;
  return newNotebook(app, PathExt.dirname(path), [LOAD, cell]);
}

/** Create a notebook that builds a Dockerfile where it is, in the same directory, and open it. */
export async function notebookForFile(app: JupyterFrontEnd, path: string): Promise<unknown> {
  const name = PathExt.basename(path);
  const option = name === "Dockerfile" ? "" : `-f ${/^[\w.-]+$/.test(name) ? name : `'${name}'`} `;
  return newNotebook(app, PathExt.dirname(path), [LOAD, `%build -t ${tagOf(path)} ${option}.`]);
}

/** Save a text under a name that the user is asked for; ask again before replacing a file. */
async function save(contents: Contents.IManager, directory: string, text: string): Promise<void> {
  const prompt = await InputDialog.getText({ title: "Save cell as Dockerfile", label: "Name", text: "Dockerfile", okLabel: "Save" });
  if (!prompt.button.accept || !prompt.value) return;
  const path = PathExt.join(directory, prompt.value);
  const isThere = await contents.get(path, { content: false }).then(
    () => true,
    () => false,
  );
  if (isThere) {
    const buttons = [Dialog.cancelButton(), Dialog.warnButton({ label: "Replace" })];
    const answer = await showDialog({ title: `Replace ${prompt.value}?`, body: "A file with this name already exists.", buttons });
    if (!answer.button.accept) return;
  }
  await contents.save(path, { type: "file", format: "text", content: text });
  Notification.success(`The cell was saved as ${path}.`, { autoClose: 4000 });
}

export const filesPlugin = (helperOf: (app: JupyterFrontEnd) => Helper): JupyterFrontEndPlugin<void> => ({
  id: "pybuild_magic:files",
  description: "Image archives and Dockerfiles in the file browser.",
  autoStart: true,
  optional: [IFileBrowserFactory, INotebookTracker, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    browsers: IFileBrowserFactory | null,
    notebooks: INotebookTracker | null,
    palette: ICommandPalette | null,
  ) => {
    const { docRegistry, commands, contextMenu, serviceManager } = app;
    for (const type of FILE_TYPES) docRegistry.addFileType(type);
    docRegistry.addModelFactory(new ImageModelFactory());
    docRegistry.addWidgetFactory(new ExplorerFactory(helperOf(app)));

    const fail = (error: unknown): Promise<void> => showErrorMessage("Dockerfile", error as Error);
    commands.addCommand(OPEN_AS_NOTEBOOK, {
      label: "Open as %%build Notebook",
      caption: "Make a notebook with this Dockerfile in a cell that builds it",
      execute: async () => {
        const selected = [...(browsers?.tracker.currentWidget?.selectedItems() ?? [])];
        for (const { path } of selected) await openAsNotebook(app, path).catch(fail);
      },
    });
    contextMenu.addItem({ command: OPEN_AS_NOTEBOOK, selector: '.jp-DirListing-item[data-file-type="dockerfile"]', rank: 1.5 });

    const source = (): string => notebooks?.activeCell?.model.sharedModel.getSource() ?? "";
    commands.addCommand(SAVE_CELL, {
      label: "Save Cell as Dockerfile…",
      caption: "Write the Dockerfile of this %%build cell to a file",
      isVisible: () => isBuildCell(source()),
      isEnabled: () => isBuildCell(source()),
      execute: async () => {
        const directory = PathExt.dirname(notebooks?.currentWidget?.context.path ?? "");
        await save(serviceManager.contents, directory, dockerfileOf(source())).catch(fail);
      },
    });
    notebooks?.activeCellChanged.connect(() => commands.notifyCommandChanged(SAVE_CELL));
    contextMenu.addItem({ command: SAVE_CELL, selector: ".jp-Notebook .jp-CodeCell", rank: 12 });
    palette?.addItem({ command: SAVE_CELL, category: CATEGORY });
  },
});
