// The Config tab: the settings with which the image runs, as instructions of a Dockerfile.

import { h } from "../../dom";
import type { Child } from "../../dom";
import { runnable } from "../../model";
import type { Manifest } from "../../model";
import { humanSeconds } from "../../words";
import { json, shell } from "../shared/code";
import { copyButton } from "../shared/digest";
import { segments } from "../shared/segments";
import { facts } from "../shared/table";
import type { Panel } from "../shared/tabs";
import type { View } from "./view";

type Fields = Record<string, unknown>;

/** Return any value in words. */
const word = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
const words = (value: unknown): string[] =>
  Array.isArray(value) ? value.map(word) : typeof value === "string" ? [value] : [];
const names = (value: unknown): string[] => (value && typeof value === "object" ? Object.keys(value) : []);
const code = (text: string): HTMLElement => h("code", { class: "pbr-value" }, text);
const keyword = (text: string): HTMLElement => h("code", { class: "pbr-keyword" }, text);
const chips = (values: string[]): HTMLElement =>
  h(
    "span",
    { class: "pbr-chips" },
    values.map((value) => h("code", { class: "pbr-chip" }, value)),
  );

/** Return the words of a command as a shell reads them. */
const quote = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function starts(fields: Fields): Child {
  const command = [...words(fields["Entrypoint"]), ...words(fields["Cmd"])].map(quote).join(" ");
  if (!command) return h("p", { class: "pbr-note" }, "The image sets no command: give one when you run it.");
  return h(
    "div",
    { class: "pbr-run" },
    h("span", { class: "pbr-dim" }, "Starts with"),
    h("code", null, shell(command)),
    copyButton(command, "command"),
  );
}

function pairs(label: string, entries: [string, string][]): HTMLElement {
  return h(
    "table",
    { class: "pbr-table pbr-pairs-table", "aria-label": label },
    h(
      "tbody",
      null,
      entries.map(([name, value]) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, h("code", null, name)),
          h(
            "td",
            null,
            value.includes(":/") && name.endsWith("PATH")
              ? h(
                  "span",
                  { class: "pbr-path-parts" },
                  value.split(":").map((part) => code(part)),
                )
              : code(value),
          ),
        ),
      ),
    ),
  );
}

/** Return the options of a health check; durations are nanoseconds, as in Go. */
function health(value: unknown): Child {
  const check = value as Fields;
  const test = words(check["Test"]);
  if (test[0] === "NONE") return "none: that of the base image is disabled";
  const parts = [
    ["every", check["Interval"]],
    ["within", check["Timeout"]],
    ["starting after", check["StartPeriod"]],
  ].filter((part): part is [string, number] => typeof part[1] === "number" && part[1] > 0);
  const when = parts.map(([word, nanoseconds]) => `${word} ${humanSeconds(nanoseconds / 1e9).replace(".0 ", " ")}`);
  if (typeof check["Retries"] === "number" && check["Retries"])
    when.push(`unhealthy after ${check["Retries"]} failures`);
  return [
    code((test[0] === "CMD-SHELL" ? test.slice(1) : test.slice(1).map(quote)).join(" ")),
    h("div", { class: "pbr-dim" }, when.join(", ")),
  ];
}

function rowsOf(manifest: Manifest): [Child, Child][] {
  const fields = (manifest.config["config"] ?? {}) as Fields;
  const list: [Child, Child][] = [];
  const add = (name: string, value: Child, when: unknown): void => void (when && list.push([keyword(name), value]));
  const exact = (name: string): Child => code(JSON.stringify(fields[name]));
  add("ENTRYPOINT", exact("Entrypoint"), words(fields["Entrypoint"]).length);
  add("CMD", exact("Cmd"), words(fields["Cmd"]).length);
  const user = word(fields["User"] ?? "");
  add("USER", user ? code(user) : h("span", { class: "pbr-dim" }, "root (not set)"), true);
  add(
    "WORKDIR",
    fields["WorkingDir"] ? code(word(fields["WorkingDir"])) : h("span", { class: "pbr-dim" }, "/ (not set)"),
    true,
  );
  const env = words(fields["Env"]).map((item): [string, string] => [
    item.slice(0, item.indexOf("=")),
    item.slice(item.indexOf("=") + 1),
  ]);
  add("ENV", pairs("Environment", env), env.length);
  add("EXPOSE", chips(names(fields["ExposedPorts"])), names(fields["ExposedPorts"]).length);
  add("VOLUME", chips(names(fields["Volumes"])), names(fields["Volumes"]).length);
  const labels = Object.entries((fields["Labels"] ?? {}) as Fields).map(([name, value]): [string, string] => [
    name,
    word(value),
  ]);
  add("LABEL", pairs("Labels", labels), labels.length);
  add("HEALTHCHECK", fields["Healthcheck"] ? health(fields["Healthcheck"]) : null, fields["Healthcheck"]);
  add("STOPSIGNAL", code(word(fields["StopSignal"])), fields["StopSignal"]);
  add("SHELL", exact("Shell"), words(fields["Shell"]).length);
  add(
    "ONBUILD",
    words(fields["OnBuild"]).map((line) => h("div", null, code(line))),
    words(fields["OnBuild"]).length,
  );
  list.push(["Platform", manifest.platform]);
  const created = manifest.config["created"];
  if (created) list.push(["Created", when(word(created))]);
  const author = manifest.config["author"];
  if (author) list.push(["Author", word(author)]);
  return list;
}

/** Return `2026-11-23T16:33:50.72Z` as `2026-11-23 16:33:50 UTC`. */
export const when = (time: string): string => time.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z$/, "$1 $2 UTC");

function configOf(manifest: Manifest): Child {
  const fields = (manifest.config["config"] ?? {}) as Fields;
  return [
    starts(fields),
    h("div", { class: "pbr-scroll" }, facts(`Config of ${manifest.platform}`, rowsOf(manifest))),
    h("details", null, h("summary", null, "The full config, as JSON"), json(JSON.stringify(manifest.config))),
  ];
}

export function configTab(view: View): Panel {
  const manifests = runnable(view.summary.image);
  return {
    node: segments(
      "Platform",
      manifests.map((manifest) => ({ title: manifest.platform, make: () => configOf(manifest) })),
    ),
  };
}
