// The plugin that gives every editor colours, completions, help and checks of %%build cells, which the kernel makes.

import type { JupyterFrontEndPlugin } from "@jupyterlab/application";
import { EditorExtensionRegistry, IEditorExtensionRegistry, IEditorLanguageRegistry } from "@jupyterlab/codemirror";
import type { IEditorExtensionFactory } from "@jupyterlab/codemirror";
import { ICompletionProviderManager } from "@jupyterlab/completer";
import { INotebookTracker, NotebookActions } from "@jupyterlab/notebook";
import { kernelOf } from "./channel";
import { keepWordsOut } from "./completer";
import { buildCells, checkAgain, dockerfileSupport } from "./editor";
import type { Finding } from "./editor";
import { DOCKERFILE } from "./explorer";

export const editorPlugin: JupyterFrontEndPlugin<void> = {
  id: "pybuild_magic:editor",
  description: "Dockerfiles in %%build cells: colours, completions, help and checks while typing.",
  autoStart: true,
  requires: [IEditorExtensionRegistry],
  optional: [INotebookTracker, ICompletionProviderManager, IEditorLanguageRegistry],
  activate: (
    app,
    registry: IEditorExtensionRegistry,
    tracker: INotebookTracker | null,
    completions: ICompletionProviderManager | null,
    languages: IEditorLanguageRegistry | null,
  ) => {
    // A file has the colours of a cell: JupyterLab's own mode knows neither flags, images nor stages.
    const known = languages?.findByMIME("text/x-dockerfile");
    if (known) known.support = dockerfileSupport;
    languages?.addLanguage({
      name: "Containerfile",
      mime: "text/x-containerfile",
      filename: new RegExp(DOCKERFILE),
      support: dockerfileSupport,
    });
    if (completions) void app.restored.then(() => keepWordsOut(completions));
    // A cell may have loaded pybuild_magic, or made an image or a file that another cell mentions.
    NotebookActions.executed.connect(() => checkAgain());
    registry.addExtension(
      Object.freeze({
        name: "pybuild_magic:build-cells",
        factory: ({ model }: IEditorExtensionFactory.IOptions) => {
          const check = async (cell: string): Promise<Finding[] | null> => {
            const panel = tracker?.find((candidate) => candidate.content.widgets.some((widget) => widget.model === model));
            const kernel = panel?.sessionContext.session?.kernel;
            if (!kernel || kernel.status === "dead") return null;
            const { result } = await kernelOf(kernel).ask("diagnostics", { cell });
            return Array.isArray(result) ? (result as Finding[]) : ((result as { diagnostics?: Finding[] }).diagnostics ?? null);
          };
          return EditorExtensionRegistry.createImmutableExtension(buildCells(model.sharedModel.source, check));
        },
      }),
    );
  },
};
