// Elements from tags, attributes and text. Every component makes its elements here, and nothing here parses markup.

export type Child = Node | string | number | null | undefined | false | Child[];
type Listener = (event: never) => void;
type Value = string | number | boolean | null | undefined | Listener;
export type Props = Record<string, Value>;

const SVG = "http://www.w3.org/2000/svg";
const SAFE_LINK = /^(https:|blob:)/;

function set(node: Element, props: Props): void {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") {
      node.addEventListener(name.replace(/^on/, ""), value as EventListener);
      continue;
    }
    if (name.startsWith("on")) throw new Error(`${name} takes a function`);
    if ((name === "href" || name === "src") && !SAFE_LINK.test(String(value))) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
}

function append(node: Element, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) append(node, child);
    else if (child instanceof Node) node.append(child);
    else if (child !== null && child !== undefined && child !== false) node.append(String(child));
  }
}

/** Make an element. A prop that is a function is a listener (`onclick`); one that is null or false is left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props?: Props | null,
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  if (props) set(node, props);
  append(node, children);
  return node;
}

/** Make an element of a drawing. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  props?: Props | null,
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const node = document.createElementNS(SVG, tag);
  if (props) set(node, props);
  append(node, children);
  return node;
}

/** Replace the children of an element. */
export function fill(node: Element, ...children: Child[]): void {
  node.replaceChildren();
  append(node, children);
}

let lastId = 0;

/** Return an id that no other element of the page has. */
export const freshId = (word: string): string => `pb-${word}-${(lastId += 1).toString(36)}`;
