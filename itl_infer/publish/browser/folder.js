// A page that is published as a folder: its files lie beside it.

import { start } from "./page.js";
import { openPublished } from "./published.js";

const urlOf = (name) => new URL(name, document.baseURI).href;

async function fetchFile(name, options = {}) {
  const response = await fetch(urlOf(name), options);
  if (!response.ok) throw new Error(`${name} cannot be fetched (${response.status}): load the page anew`);
  return response;
}

try {
  // The one name that stays when the folder is published again.
  const site = await (await fetchFile("site.json", { cache: "no-cache" })).json();
  start(
    openPublished({
      site,
      fetchBytes: async (name) => new Uint8Array(await (await fetchFile(site.data[name].file)).arrayBuffer()),
      urlOf,
      createWorker: () => new Worker(new URL("worker.js", import.meta.url), { type: "module" }),
    }),
  );
} catch (error) {
  document.getElementById("note").textContent = error.message;
}
