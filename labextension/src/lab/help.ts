// The meaning of the words of a Dockerfile, in a sentence each, shown on hover.

import { own } from "../document";
import words from "../../../pybuild_magic/editor/dockerfile.json";

export interface Help {
  usage: string;
  text: string;
}

/** The page of BuildKit's reference that describes the words. */
export const REFERENCE = "https://docs.docker.com/reference/dockerfile/";

const INSTRUCTIONS: Record<string, Help> = words.instructions;
const FLAGS: Record<string, Record<string, string>> = words.flags;

/** Return help on a word of an instruction's line: the instruction itself, or one of its flags. */
export function helpFor(instruction: string, word: string): Help | null {
  const flag = /^--([\w-]+)/.exec(word)?.[1];
  if (flag) {
    const text = own(own(FLAGS, instruction) ?? {}, flag);
    return text ? { usage: `${instruction} --${flag}=…`, text } : null;
  }
  return own(INSTRUCTIONS, word.toUpperCase()) ?? null;
}
