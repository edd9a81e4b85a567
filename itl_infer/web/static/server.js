// Who answers the page of `serve`: the API beside it, wherever a proxy has put both.
//
// Whoever answers a page has these functions; that of `publish` is another one:
//   abilities           what there is besides words: {picture, relevant, dedupe, names, filters: names of some of FILTERS}
//   status()            {pictures, text}: how many there are, and a line to begin with
//   search(asked, {offset, k, signal})
//                       the JSON of `query`, of the `k` best pictures behind the first `offset`; `asked` has q, like (an
//                       id), picture (a Blob), wanted and unwanted (ids), the switches and the filters
//   teach(name, wanted, unwanted)
//                       keeps a name, from ids of pictures that show it and that do not: {name, examples}
//   complete(prefix)    words that begin so
//   thumbnail(found), picture(found), original(found)
//                       addresses: small, as large as can be shown, and the file itself, or null
//   thumbnailOf(id)     that of a picture that is not shown
//   folders()           folders to choose from, where it knows them

import { FILTERS } from "./filters.js";

const BASE = new URL("..", import.meta.url);
const SWITCHES = ["relevant", "dedupe"];

async function ask(path, parameters = {}, options = {}) {
  const url = new URL(`api/${path}`, BASE);
  url.search = new URLSearchParams(Object.entries(parameters).flatMap(([name, value]) => [value].flat().map((one) => [name, one])));
  const response = await fetch(url, options);
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Error(`the server answers ${response.status} ${response.statusText}, and not with an answer`);
  }
  if (!response.ok) throw new Error(answer.error ?? `the server answers ${response.status}`);
  return answer;
}

export const server = {
  abilities: { picture: true, relevant: true, dedupe: true, names: true, filters: FILTERS },

  async status() {
    const { pictures, bundle, domain, next } = await ask("status");
    if (pictures === 0) return { pictures, text: `No pictures here yet. To add some: ${next}` };
    return { pictures, text: `${pictures} pictures · bundle ${bundle}: ${domain}` };
  },

  search(asked, { offset, k, signal }) {
    const parameters = { explain: "true", k };
    if (offset) parameters.offset = offset;
    for (const name of ["q", ...FILTERS]) if (asked[name]) parameters[name] = asked[name];
    for (const name of SWITCHES) if (asked[name]) parameters[name] = "true";
    for (const name of ["wanted", "unwanted"]) if (asked[name]?.length) parameters[name] = asked[name];
    if (!asked.picture) return ask("query", asked.like ? { ...parameters, like: asked.like } : parameters, { signal });
    const type = asked.picture.type.startsWith("image/") ? asked.picture.type : "image/unknown";
    return ask("similar", parameters, { method: "POST", body: asked.picture, headers: { "Content-Type": type }, signal });
  },

  teach: (name, wanted, unwanted) =>
    ask("names", {}, { method: "POST", body: JSON.stringify({ name, wanted, unwanted }) }),

  complete: async (prefix) => (await ask("complete", { prefix })).words,

  thumbnailOf: (id) => new URL(`thumbnails/${id}`, BASE).href,
  thumbnail: (found) => server.thumbnailOf(found.id),
  picture: (found) => new URL(`pictures/${found.id}`, BASE).href,
  original: () => null,
};
