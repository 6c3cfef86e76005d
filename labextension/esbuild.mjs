// Bundles the widgets, transpiles the JupyterLab plugins for jupyter-builder, and with --test bundles the tests.

import { readdirSync } from "node:fs";
import { build } from "esbuild";

const STATIC = "../pybuild_magic/display/static";
const list = (folder, ending) =>
  readdirSync(folder).flatMap((name) => (name.endsWith(ending) ? [`${folder}/${name}`] : []));
const common = { bundle: true, format: "esm", target: "es2022", logLevel: "warning", charset: "utf8" };

if (process.argv.includes("--test")) {
  const entryPoints = list("test", ".test.ts");
  await build({ ...common, entryPoints, outdir: "lib/test", platform: "node", packages: "external", sourcemap: "inline" });
} else {
  // A widget's module and its style sheet go by the same name, which Python reads.
  const entryPoints = [...list("src/widgets", ".ts"), ...list("style", ".css").filter((path) => !path.endsWith("lab.css"))];
  await Promise.all([
    build({ ...common, entryPoints, outdir: STATIC, entryNames: "[name]", minify: true }),
    // What JupyterLab shares with its plugins, and what they bring, is put together by jupyter-builder.
    build({ ...common, entryPoints: ["src/lab/index.ts"], outfile: "lib/lab/index.js", packages: "external" }),
  ]);
}
