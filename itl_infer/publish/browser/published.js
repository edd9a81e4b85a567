// Who answers a published page: the engine, over files that lie beside the page or inside it. What it has to do is said
// in server.js.

import { openEngine } from "./engine.js";
import { Pictures } from "./pictures.js";
import { maskOf } from "./where.js";

/**
 * `site` is the manifest; `fetchBytes(name)` gives a promise of the bytes of one of its data files, `urlOf(name)` the
 * address of a file of the site; `createWorker()` starts the worker that ranks.
 */
export function openPublished({ site, fetchBytes, urlOf, createWorker }) {
  const pictures = fetchBytes("pictures.json").then((bytes) => new Pictures(bytes));
  const engine = openEngine({ fetchBytes, createWorker, hasNames: Boolean(site.names) });
  for (const promise of [pictures, engine]) promise.catch(() => {}); // said by whoever waits for it
  const thumbnailOf = (id) => urlOf(`files/thumbnails/${id.slice(0, 2)}/${id}.webp`);

  return {
    abilities: { picture: false, relevant: true, dedupe: true, filters: site.filters },

    async status() {
      await Promise.all([engine, pictures]);
      return { pictures: site.pictures, text: `${site.title} · ${site.pictures.toLocaleString("en")} pictures` };
    },

    async search(asked, { offset, k, signal }) {
      const known = await pictures;
      const options = { offset, k, explain: true, relevant: asked.relevant, dedupe: asked.dedupe };
      options.mask = maskOf(known, asked);
      if (asked.like) {
        options.like = known.rowOf(asked.like);
        if (options.like === undefined) throw new Error("no such picture here any more: search again");
        options.likeName = known.pathOf(options.like);
      }
      const answer = await (await engine).search(asked.q || null, options);
      if (signal.aborted) throw new DOMException("another search has begun", "AbortError");
      for (const found of answer.results) Object.assign(found, known.describe(found.row));
      return answer;
    },

    complete: async (prefix) => (await engine).complete(prefix),

    folders: async () => (await pictures).folders.filter((folder) => folder),

    thumbnailOf,
    thumbnail: (found) => thumbnailOf(found.id),
    picture: (found) => (site.originals === "copy" && found.isShown ? urlOf(found.original) : thumbnailOf(found.id)),
    original: (found) => found.original && urlOf(found.original),
  };
}
