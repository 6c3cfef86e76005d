// What the words of a Dockerfile mean, in a sentence each, for whoever points at one.

import { own } from "../document";
import words from "../../../pybuild_magic/editor/dockerfile.json";

export interface Help {
  usage: string;
  text: string;
}

/** The page of BuildKit's reference that the words are from. */
export const REFERENCE = "https://docs.docker.com/reference/dockerfile/";

const INSTRUCTIONS: Record<string, Help> = words.instructions;
const FLAGS: Record<string, Record<string, string>> = words.flags;

/** Help for a word of an instruction's line: the instruction itself, or one of its flags. */
export function helpFor(instruction: string, word: string): Help | null {
  const flag = /^--([\w-]+)/.exec(word)?.[1];
  if (flag) {
    const text = own(own(FLAGS, instruction) ?? {}, flag);
    return text ? { usage: `${instruction} --${flag}=…`, text } : null;
  }
  return own(INSTRUCTIONS, word.toUpperCase()) ?? null;
}
