// Completions of %%build cells without the words that JupyterLab finds in a cell: only the kernel's are right.

import type { ICompletionContext, ICompletionProvider, ICompletionProviderManager } from "@jupyterlab/completer";
import { isBuildCell } from "../components/shared/dockerfile";

const WORDS = "CompletionProvider:context"; // JupyterLab's provider of a cell's own tokens

/** A method of the manager that its interface does not declare; the settings editor lists the providers with it. */
interface Listing {
  getProviders?: () => Map<string, ICompletionProvider>;
}

/** Turn that provider off in %%build cells. Call it once providers are registered; the user's settings still apply. */
export function keepWordsOut(manager: ICompletionProviderManager): void {
  const words = (manager as Listing).getProviders?.().get(WORDS);
  if (!words) return;
  const isApplicable = words.isApplicable.bind(words);
  words.isApplicable = async (context: ICompletionContext) =>
    !isBuildCell(context.editor?.model.sharedModel.source ?? "") && isApplicable(context);
}
