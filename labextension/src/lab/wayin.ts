// The ways to a first build: a tile in the launcher, commands in the palette, and a button on an open Dockerfile.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { Dialog, ICommandPalette, InputDialog, Notification, ToolbarButton, showDialog, showErrorMessage } from "@jupyterlab/apputils";
import type { DocumentRegistry, IDocumentWidget } from "@jupyterlab/docregistry";
import { IFileBrowserFactory } from "@jupyterlab/filebrowser";
import { ILauncher } from "@jupyterlab/launcher";
import { INotebookTracker, NotebookActions } from "@jupyterlab/notebook";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { DisposableDelegate } from "@lumino/disposable";
import { humanBytes } from "../words";
import { isDockerfile } from "./explorer";
import { newNotebook, openAsNotebook } from "./files";
import type { Helper } from "./helper";
import { imageIcon } from "./icon";

const NEW_NOTEBOOK = "pybuild-magic:new-notebook";
const NEW_CELL = "pybuild-magic:new-cell";
const BUILD = "pybuild-magic:build-dockerfile";
const PRUNE = "pybuild-magic:prune";
const CATEGORY = "Images";

/** The texts that a new cell can begin with, by name. */
export const SNIPPETS: Record<string, string> = {
  "A few files": `%%build -t site $files
FROM scratch
COPY . /site
`,
  "A Python program": `%%build -t app .
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt
COPY . .
CMD ["python", "main.py"]
`,
  "Two stages: compile, then keep the program": `%%build -t app .
FROM golang:1.24 AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache/go-build CGO_ENABLED=0 go build -o /app .

FROM scratch
COPY --from=build /app /app
ENTRYPOINT ["/app"]
`,
};

const FIRST = `%load_ext pybuild_magic
files = {"index.html": "<h1>Hello</h1>"}`;

/** Build the Dockerfile at a path, in a notebook of its own. */
async function build(app: JupyterFrontEnd, path: string): Promise<void> {
  const panel = (await openAsNotebook(app, path)) as NotebookPanel | undefined;
  if (!panel) return;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await NotebookActions.runAll(panel.content, panel.sessionContext);
}

class BuildButton implements DocumentRegistry.WidgetExtension {
  constructor(private readonly app: JupyterFrontEnd) {}

  createNew(widget: IDocumentWidget, context: DocumentRegistry.Context): DisposableDelegate | undefined {
    if (!isDockerfile(context.path)) return undefined;
    const button = new ToolbarButton({
      icon: imageIcon,
      label: "Build",
      tooltip: "Build this Dockerfile in a notebook",
      onClick: () => void this.press(context),
    });
    widget.toolbar.insertItem(0, "pybuild-build", button);
    return new DisposableDelegate(() => button.dispose());
  }

  private async press(context: DocumentRegistry.Context): Promise<void> {
    if (context.model.dirty && !context.model.readOnly) await context.save();
    await build(this.app, context.path).catch((error: unknown) => showErrorMessage("The notebook could not be made", error as Error));
  }
}

export const wayInPlugin = (helperOf: (app: JupyterFrontEnd) => Helper): JupyterFrontEndPlugin<void> => ({
  id: "pybuild_magic:way-in",
  description: "A launcher tile, commands and a button that start a build.",
  autoStart: true,
  optional: [IFileBrowserFactory, INotebookTracker, ICommandPalette, ILauncher],
  activate: (
    app: JupyterFrontEnd,
    browsers: IFileBrowserFactory | null,
    notebooks: INotebookTracker | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
  ) => {
    const { commands, docRegistry, shell } = app;
    const fail = (error: unknown): Promise<void> => showErrorMessage("Dockerfile notebook", error as Error);
    const directory = (): string => browsers?.tracker.currentWidget?.model.path ?? "";
    const openDockerfile = (): string => {
      const context = (shell.currentWidget as Partial<IDocumentWidget> | null)?.context;
      return context && isDockerfile(context.path) ? context.path : "";
    };

    commands.addCommand(NEW_NOTEBOOK, {
      label: (args) => (args["isPalette"] ? "New Dockerfile Notebook" : "Dockerfile notebook"),
      caption: "Make a notebook with a cell that builds an image",
      icon: imageIcon,
      execute: (args) => {
        const folder = typeof args["cwd"] === "string" ? args["cwd"] : directory();
        return newNotebook(app, folder, [FIRST, SNIPPETS["A few files"] ?? ""]).catch(fail);
      },
    });
    commands.addCommand(NEW_CELL, {
      label: "New Build Cell…",
      caption: "Insert a %%build cell below the selected one",
      isEnabled: () => Boolean(notebooks?.currentWidget),
      execute: async () => {
        const notebook = notebooks?.currentWidget?.content;
        if (!notebook) return;
        const choice = await InputDialog.getItem({ title: "New build cell", items: Object.keys(SNIPPETS), okLabel: "Insert" });
        const text = choice.button.accept ? SNIPPETS[choice.value ?? ""] : undefined;
        if (text === undefined) return;
        NotebookActions.insertBelow(notebook);
        notebook.activeCell?.model.sharedModel.setSource(text);
      },
    });
    commands.addCommand(BUILD, {
      label: "Build This Dockerfile",
      caption: "Build the open Dockerfile in a notebook",
      icon: imageIcon,
      isEnabled: () => Boolean(openDockerfile()),
      execute: () => build(app, openDockerfile()).catch(fail),
    });
    commands.addCommand(PRUNE, {
      label: "Prune Build Cache…",
      caption: "Remove what no image needs from the store",
      execute: async () => {
        const buttons = [Dialog.cancelButton(), Dialog.warnButton({ label: "Prune" })];
        const body = "Steps whose results are removed run again in the next build. Images stay.";
        if (!(await showDialog({ title: "Prune the build cache?", body, buttons })).button.accept) return;
        const { result } = await helperOf(app).with().ask("prune", {});
        Notification.success(`Freed ${humanBytes((result as { reclaimed: number }).reclaimed)}.`, { autoClose: 5000 });
      },
    });
    notebooks?.currentChanged.connect(() => commands.notifyCommandChanged(NEW_CELL));
    docRegistry.addWidgetExtension("Editor", new BuildButton(app));
    launcher?.add({ command: NEW_NOTEBOOK, category: "Notebook", rank: 50 });
    palette?.addItem({ command: NEW_NOTEBOOK, category: CATEGORY, args: { isPalette: true } });
    for (const command of [NEW_CELL, BUILD, PRUNE]) palette?.addItem({ command, category: CATEGORY });
  },
});
