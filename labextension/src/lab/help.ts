// What the words of a Dockerfile mean, in a sentence each, for whoever points at one.

export interface Help {
  usage: string;
  text: string;
}

/** The page of BuildKit's reference that the words are from. */
export const REFERENCE = "https://docs.docker.com/reference/dockerfile/";

const INSTRUCTIONS: Record<string, [usage: string, text: string]> = {
  ADD: ["ADD [flags] SOURCE… DEST", "Copies files, URLs or Git repositories into the image; a local tar archive is unpacked."],
  ARG: ["ARG NAME[=DEFAULT]", "A variable of the build, set by --build-arg. It is not in the image."],
  CMD: ['CMD ["program", "argument"]', "What a container runs when it is given no command, or the arguments of the ENTRYPOINT."],
  COPY: ["COPY [flags] SOURCE… DEST", "Copies files of the context, of another stage or of an image into the image."],
  ENTRYPOINT: ['ENTRYPOINT ["program", "argument"]', "The program that a container of the image always runs."],
  ENV: ["ENV NAME=VALUE …", "Sets environment variables, for the instructions that follow and in the image."],
  EXPOSE: ["EXPOSE PORT[/PROTOCOL] …", "Says on which ports the program listens. It opens none."],
  FROM: ["FROM [--platform=P] IMAGE [AS NAME]", "Begins a stage on an image, another stage, or scratch, which is empty."],
  HEALTHCHECK: ["HEALTHCHECK [flags] CMD command", "How to tell whether a container works; NONE forgets the base's."],
  LABEL: ["LABEL KEY=VALUE …", "Describes the image."],
  MAINTAINER: ["MAINTAINER NAME", "Who made the image. Deprecated: LABEL org.opencontainers.image.authors says it."],
  ONBUILD: ["ONBUILD INSTRUCTION", "An instruction for builds that use this image as their base."],
  RUN: ["RUN [flags] command", "Runs a command in the image; the files that it changes are a new layer."],
  SHELL: ['SHELL ["program", "argument"]', "The shell of RUN, CMD and ENTRYPOINT in their form without brackets."],
  STOPSIGNAL: ["STOPSIGNAL SIGNAL", "The signal that asks a container to end."],
  USER: ["USER NAME[:GROUP]", "Who runs what follows, and the container."],
  VOLUME: ["VOLUME PATH …", "Paths whose content is not in the image but in a volume of each container."],
  WORKDIR: ["WORKDIR PATH", "The directory in which what follows is done; it is made when it is not there."],
};

const FLAGS: Record<string, Record<string, string>> = {
  FROM: { platform: "The platform of the image, when it has several." },
  RUN: {
    mount: "Files that are there while the command runs, and in no layer: type=bind, cache, tmpfs, secret or ssh.",
    network: "default, none or host.",
    security: "sandbox, or insecure for a command that needs all privileges.",
    device: "A device of the machine that the command needs.",
  },
  COPY: {
    from: "The stage, image or named context that the files are copied from.",
    chown: "Owner and group of the copies.",
    chmod: "Permissions of the copies.",
    link: "The copies are a layer of their own, which stays cached when what is below changes.",
    parents: "Keeps the directories of the sources.",
    exclude: "Files that are left out, by a pattern.",
  },
  ADD: {
    "keep-git-dir": "Keeps .git of a Git repository.",
    checksum: "The digest that a URL's content has to have.",
    chown: "Owner and group of the copies.",
    chmod: "Permissions of the copies.",
    link: "The copies are a layer of their own, which stays cached when what is below changes.",
    unpack: "Whether archives are unpacked.",
    exclude: "Files that are left out, by a pattern.",
  },
  HEALTHCHECK: {
    interval: "The time from one check to the next, such as 30s.",
    timeout: "The time after which a check has failed.",
    "start-period": "The time for which failing checks do not count.",
    "start-interval": "The time between checks in the start period.",
    retries: "Checks that fail one after the other before the container is unhealthy.",
  },
};

/** Help for a word of an instruction's line: the instruction itself, or one of its flags. */
export function helpFor(instruction: string, word: string): Help | null {
  const flag = /^--([\w-]+)/.exec(word)?.[1];
  if (flag) {
    const text = FLAGS[instruction]?.[flag];
    return text ? { usage: `${instruction} --${flag}=…`, text } : null;
  }
  const found = INSTRUCTIONS[word.toUpperCase()];
  return found ? { usage: found[0], text: found[1] } : null;
}
