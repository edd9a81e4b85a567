// A page that is published as one file: everything is inside it, so that it opens from a disk too.

import { start } from "./page.js";
import { openPublished } from "./published.js";

const urls = new Map();

// Its parts stand in the document as base64, in elements that no browser runs.
function bytesOf(name) {
  const part = document.querySelector(`script[data-file="${CSS.escape(name)}"]`);
  if (!part) throw new Error(`${name} is not in this file: publish it again`);
  return Uint8Array.from(atob(part.textContent), (char) => char.charCodeAt(0));
}

function urlOf(name) {
  if (/^[a-z]+:/i.test(name) || !document.querySelector(`script[data-file="${CSS.escape(name)}"]`)) return name;
  if (!urls.has(name)) {
    const type = name.endsWith(".js") ? "text/javascript" : "image/webp";
    urls.set(name, URL.createObjectURL(new Blob([bytesOf(name)], { type })));
  }
  return urls.get(name);
}

const site = JSON.parse(new TextDecoder().decode(bytesOf("site.json")));
start(
  openPublished({
    site,
    fetchBytes: async (name) => bytesOf(name),
    urlOf,
    createWorker: () => new Worker(urlOf("worker.js")),
  }),
);
