// Keeps the words that JupyterLab finds in a cell out of the completions of %%build cells: only the kernel's are right.

import type { ICompletionContext, ICompletionProvider, ICompletionProviderManager } from "@jupyterlab/completer";
import { isBuildCell } from "./dockerfile";

const WORDS = "CompletionProvider:context"; // JupyterLab's provider of a cell's own tokens

/** What the manager has, though its interface does not say so; the settings list the providers by it. */
interface Listing {
  getProviders?: () => Map<string, ICompletionProvider>;
}

/** To be called when the providers are registered; whether they are on at all stays the user's setting. */
export function keepWordsOut(manager: ICompletionProviderManager): void {
  const words = (manager as Listing).getProviders?.().get(WORDS);
  if (!words) return;
  const isApplicable = words.isApplicable.bind(words);
  words.isApplicable = async (context: ICompletionContext) =>
    !isBuildCell(context.editor?.model.sharedModel.source ?? "") && isApplicable(context);
}
