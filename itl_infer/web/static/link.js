// A search as the end of the address, "#q=surfer": a link to it, and the way back to it.

import { FILTERS } from "./filters.js";

const TEXTS = ["q", "like", ...FILTERS];
const SWITCHES = ["relevant", "dedupe"];

export function readLink() {
  // "?q=surfer" is how links were written before.
  const given = new URLSearchParams(location.hash.length > 1 ? location.hash.slice(1) : location.search);
  const asked = Object.fromEntries(TEXTS.map((name) => [name, given.get(name) ?? ""]));
  for (const name of SWITCHES) asked[name] = given.get(name) === "true";
  return asked;
}

export function writeLink(asked) {
  const parameters = new URLSearchParams();
  for (const name of TEXTS) if (asked[name]) parameters.set(name, asked[name]);
  for (const name of SWITCHES) if (asked[name]) parameters.set(name, "true");
  if (`#${parameters}` !== location.hash) history.pushState(null, "", `${location.pathname}#${parameters}`);
}
