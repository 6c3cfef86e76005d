// What tsc does not see: dead code, loose types, and every way to turn text into markup or into a program.

import tseslint from "typescript-eslint";

const MARKUP =
  "/^(innerHTML|outerHTML|insertAdjacentHTML|setHTMLUnsafe|setHTML|srcdoc|createContextualFragment|parseFromString|write|writeln)$/";

const message = "Text from a build is untrusted: set textContent, or build elements with h() of src/dom.ts.";

export default tseslint.config(
  { ignores: ["lib/", "node_modules/", "esbuild.mjs", "eslint.config.js", "style/"] },
  ...tseslint.configs.strict,
  {
    rules: {
      eqeqeq: "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-script-url": "error",
      "no-restricted-syntax": [
        "error",
        { selector: `MemberExpression[property.name=${MARKUP}]`, message },
        { selector: `MemberExpression[property.value=${MARKUP}]`, message },
        { selector: `Property[key.name=${MARKUP}]`, message },
        { selector: "NewExpression[callee.name='DOMParser']", message },
        { selector: "CallExpression[callee.property.name='setAttribute'][arguments.0.value=/^(on|srcdoc)/i]", message },
      ],
    },
  },
);
