// The ways to a first build: a tile in the launcher, commands in the palette, and a button on an open Dockerfile.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, InputDialog, ToolbarButton, showErrorMessage } from "@jupyterlab/apputils";
import type { DocumentRegistry, IDocumentWidget } from "@jupyterlab/docregistry";
import { IFileBrowserFactory } from "@jupyterlab/filebrowser";
import { ILauncher } from "@jupyterlab/launcher";
import { INotebookTracker, NotebookActions } from "@jupyterlab/notebook";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { DisposableDelegate } from "@lumino/disposable";
import { isDockerfile } from "./explorer";
import { LOAD, newNotebook, notebookForFile } from "./files";
import { imageIcon, imageIconUrl } from "./icon";

const NEW_NOTEBOOK = "pybuild-magic:new-notebook";
const NEW_CELL = "pybuild-magic:new-cell";
const BUILD = "pybuild-magic:build-dockerfile";
const CATEGORY = "Images";

/** The texts that a new cell can begin with, by name. */
export const SNIPPETS: Record<string, string> = {
  "A file written in the cell": `%%build -t site -
FROM scratch
COPY <<EOF /index.html
<h1>Hello</h1>
EOF`,
  "A Python program": `%%build -t app .
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt
COPY . .
CMD ["python", "main.py"]`,
  "Two stages: compile, then keep the program": `%%build -t app .
FROM golang:1.24 AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache/go-build CGO_ENABLED=0 go build -o /app .

FROM scratch
COPY --from=build /app /app
ENTRYPOINT ["/app"]`,
};

/** The cells of a new notebook. */
const FIRST = [
  `${LOAD}
files = {"index.html": "<h1>Hello</h1>"}`,
  `%%build -t site $files
FROM scratch
COPY . /site`,
];

/** Insert a cell below the active one, or fill it when it is empty, and let the user type in it. */
async function insert(panel: NotebookPanel, text: string): Promise<void> {
  const { content: notebook, sessionContext } = panel;
  const isLoaded = notebook.widgets.some(({ model }) => model.sharedModel.getSource().includes(LOAD));
  const put = (source: string): void => {
    const active = notebook.activeCell?.model;
    if (active?.type !== "code" || active.sharedModel.getSource().trim()) NotebookActions.insertBelow(notebook);
    notebook.activeCell?.model.sharedModel.setSource(source);
  };
  if (!isLoaded) {
    put(LOAD);
    await sessionContext.ready;
    void NotebookActions.run(notebook, sessionContext); // before whatever is run next, also by a kernel that is busy
  }
  put(text);
  await notebook.scrollToItem(notebook.activeCellIndex).catch(() => undefined); // another scroll may overtake it
  await notebook.activeCell?.ready;
  notebook.activeCell?.editor?.focus(); // which is what the edit mode is
}

/** Builds Dockerfiles, each in a notebook that is used again for as long as it is open. */
class Builds {
  private readonly panels = new Map<string, NotebookPanel>();

  constructor(private readonly app: JupyterFrontEnd) {}

  /** Save the Dockerfile if it was changed, and build it. */
  async build(context: DocumentRegistry.Context): Promise<void> {
    try {
      if (context.model.dirty && !context.model.readOnly) await context.save();
      const panel = await this.notebook(context.path);
      if (panel) await NotebookActions.runAll(panel.content, panel.sessionContext);
    } catch (error) {
      await showErrorMessage("The Dockerfile was not built", error as Error);
    }
  }

  private async notebook(path: string): Promise<NotebookPanel | undefined> {
    const open = this.panels.get(path);
    if (open && !open.isDisposed) {
      this.app.shell.activateById(open.id);
      return open;
    }
    const panel = (await notebookForFile(this.app, path)) as NotebookPanel | undefined;
    if (!panel) return undefined;
    this.panels.set(path, panel);
    await panel.context.ready;
    await panel.sessionContext.ready;
    return panel;
  }
}

class BuildButton implements DocumentRegistry.WidgetExtension {
  constructor(private readonly builds: Builds) {}

  createNew(widget: IDocumentWidget, context: DocumentRegistry.Context): DisposableDelegate | undefined {
    if (!isDockerfile(context.path)) return undefined;
    const button = new ToolbarButton({
      icon: imageIcon,
      label: "Build",
      className: "pb-build-button",
      tooltip: "Build this Dockerfile in a notebook",
      onClick: () => void this.builds.build(context),
    });
    widget.toolbar.insertItem(0, "pybuild-build", button);
    return new DisposableDelegate(() => button.dispose());
  }
}

export const wayInPlugin: JupyterFrontEndPlugin<void> = {
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
    const builds = new Builds(app);
    const directory = (): string => browsers?.tracker.currentWidget?.model.path ?? "";
    const openDockerfile = (): DocumentRegistry.Context | null => {
      const context = (shell.currentWidget as Partial<IDocumentWidget> | null)?.context;
      return context && isDockerfile(context.path) ? context : null;
    };

    commands.addCommand(NEW_NOTEBOOK, {
      label: (args) => (args["isPalette"] ? "New Dockerfile Notebook" : "Dockerfile notebook"),
      caption: "Make a notebook with a cell that builds an image",
      icon: imageIcon,
      execute: (args) => {
        const folder = typeof args["cwd"] === "string" ? args["cwd"] : directory();
        return newNotebook(app, folder, FIRST).catch((error: unknown) => showErrorMessage("Dockerfile notebook", error as Error));
      },
    });
    commands.addCommand(NEW_CELL, {
      label: "New Build Cell…",
      caption: "Insert a %%build cell below the selected one",
      isEnabled: () => Boolean(notebooks?.currentWidget),
      execute: async () => {
        const panel = notebooks?.currentWidget;
        if (!panel) return;
        const choice = await InputDialog.getItem({ title: "New build cell", items: Object.keys(SNIPPETS), okLabel: "Insert" });
        const text = choice.button.accept ? SNIPPETS[choice.value ?? ""] : undefined;
        if (text !== undefined) await insert(panel, text);
      },
    });
    commands.addCommand(BUILD, {
      label: "Build This Dockerfile",
      caption: "Build the open Dockerfile in a notebook",
      icon: imageIcon,
      isEnabled: () => openDockerfile() !== null,
      execute: async () => {
        const context = openDockerfile();
        if (context) await builds.build(context);
      },
    });
    notebooks?.currentChanged.connect(() => commands.notifyCommandChanged(NEW_CELL));
    docRegistry.addWidgetExtension("Editor", new BuildButton(builds));
    launcher?.add({ command: NEW_NOTEBOOK, category: "Notebook", rank: 50, kernelIconUrl: imageIconUrl });
    palette?.addItem({ command: NEW_NOTEBOOK, category: CATEGORY, args: { isPalette: true } });
    for (const command of [NEW_CELL, BUILD]) palette?.addItem({ command, category: CATEGORY });
  },
};
