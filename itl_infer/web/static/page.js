// Search, show, explain. Every text from outside is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const QUIET = 120; // ms without a key before completions are asked for

let shown = []; // the results on the page
let open = 0; // which of them the dialog shows
let picture = null; // a File or Blob to search by
let asking = null; // aborts the search before this one

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const nameOf = (path) => path.split(/[\\/]/).at(-1).replace(/[\ud800-\udfff]/gu, "\ufffd");

async function ask(url, options) {
  const response = await fetch(url, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function search({ remember = true } = {}) {
  const state = {
    q: $("text").value.trim(),
    like: $("search").dataset.like ?? "",
    relevant: $("relevant").checked,
    dedupe: $("dedupe").checked,
  };
  if (!state.q && !state.like && !picture) return;
  const query = new URLSearchParams({ explain: "true", k: "60" });
  for (const [name, value] of Object.entries(state)) if (value) query.set(name, value);
  if (remember && !picture) {
    const bare = new URLSearchParams([...query].filter(([name]) => name !== "explain" && name !== "k"));
    if (`?${bare}` !== location.search) history.pushState(null, "", `?${bare}`);
  }
  asking?.abort();
  const mine = (asking = new AbortController());
  $("results").setAttribute("aria-busy", "true");
  try {
    const answer = picture
      ? await ask(`/api/similar?${query}`, {
          method: "POST",
          body: picture,
          headers: { "Content-Type": picture.type.startsWith("image/") ? picture.type : "image/unknown" },
          signal: mine.signal,
        })
      : await ask(`/api/query?${query}`, { signal: mine.signal });
    show(answer);
    describe(answer);
  } catch (error) {
    if (error.name === "AbortError") return;
    show({ results: [] });
    note(error.message);
  } finally {
    if (asking === mine) $("results").setAttribute("aria-busy", "false");
  }
}

function show(answer) {
  shown = answer.results;
  $("results").replaceChildren(
    ...shown.map((found, place) => {
      const copies = found.duplicates ? ` +${found.duplicates.length} like it` : "";
      const name = nameOf(found.path);
      const button = element(
        "button",
        { type: "button", title: found.path },
        element("img", { src: `/thumbnails/${found.id}`, alt: "", loading: place < 12 ? "eager" : "lazy", decoding: "async" }),
        element("span", { className: "caption" }, element("b", { textContent: found.rank }), element("i", { textContent: found.score.toFixed(4) + copies })),
        element("span", { className: "name", textContent: name }),
      );
      button.setAttribute("aria-label", `${found.rank}: ${name}, score ${found.score.toFixed(2)}`);
      button.addEventListener("click", () => openOne(place));
      return button;
    }),
  );
}

function describe(answer) {
  const parts = [`${answer.results.length} picture${answer.results.length === 1 ? "" : "s"}`];
  for (const { word, use, read_as } of answer.words ?? []) {
    if (use === "carried") parts.push(` · ${word}: read as ${read_as.join(", ")}`);
  }
  for (const use of ["dropped", "unknown"]) {
    const words = (answer.words ?? []).filter((word) => word.use === use);
    words.forEach((word, place) => {
      parts.push(place ? ", " : ` · ${use}: `, word.word);
      (word.did_you_mean ?? []).slice(0, 2).forEach((meant, other, all) => {
        parts.push(other ? " or " : " (did you mean ", correction(word.word, meant), other === all.length - 1 ? "?)" : "");
      });
    });
  }
  for (const said of answer.notes ?? []) parts.push(` · ${said}`);
  $("note").replaceChildren(...parts);
}

function correction(word, meant) {
  const button = element("button", { type: "button", textContent: meant });
  button.addEventListener("click", () => {
    const text = $("text").value;
    const start = text.toLowerCase().indexOf(word);
    $("text").value = start < 0 ? meant : text.slice(0, start) + meant + text.slice(start + word.length);
    search();
  });
  return button;
}

function note(text) {
  $("note").textContent = text;
}

function openOne(place) {
  open = place;
  const found = shown[place];
  const scale = Math.max(...shown.flatMap((one) => (one.shares ?? []).map((share) => Math.abs(share.share))), 1e-9);
  $("picture").src = `/pictures/${found.id}`;
  $("picture").alt = nameOf(found.path);
  $("name").textContent = nameOf(found.path);
  $("score").textContent = `${found.rank} of ${shown.length} shown, score ${found.score.toFixed(4)}`;
  $("shares").replaceChildren(...(found.shares ?? []).flatMap((share) => bar(share, scale)));
  $("previous").disabled = place === 0;
  $("next").disabled = place === shown.length - 1;
  if (!$("one").open) $("one").showModal();
}

function bar(share, scale) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const length = (100 * Math.abs(share.share)) / scale;
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", "100%");
  rect.setAttribute("height", "100%");
  svg.append(rect);
  svg.style.width = `${length}%`;
  const term = (share.weight < 0 ? "- " : "") + nameOf(share.term);
  const value = (share.share < 0 ? "" : "+") + share.share.toFixed(3);
  return [
    element("dt", { textContent: term }),
    element("dd", { className: share.share < 0 ? "against" : "for" }, svg, value),
  ];
}

function searchBy(file) {
  picture = file;
  delete $("search").dataset.like;
  const [image, label] = $("asked").children;
  image.src = URL.createObjectURL(file);
  label.textContent = file.name ?? "picture";
  $("asked").hidden = false;
  search();
}

function searchLike(id, name) {
  picture = null;
  $("search").dataset.like = id;
  $("text").value = "";
  const [image, label] = $("asked").children;
  image.src = `/thumbnails/${id}`;
  label.textContent = name;
  $("asked").hidden = false;
}

function forgetPicture() {
  picture = null;
  delete $("search").dataset.like;
  $("file").value = "";
  $("asked").hidden = true;
}

function restore() {
  const state = new URLSearchParams(location.search);
  forgetPicture();
  if (state.get("like")) searchLike(state.get("like"), "");
  $("text").value = state.get("q") ?? "";
  $("relevant").checked = state.get("relevant") === "true";
  $("dedupe").checked = state.get("dedupe") === "true";
  if (state.get("q") || state.get("like")) search({ remember: false });
  else show({ results: [] });
}

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
for (const id of ["relevant", "dedupe"]) $(id).addEventListener("change", () => search());

let waiting;
$("text").addEventListener("input", (event) => {
  if (event.inputType === "insertReplacementText" || !event.inputType) return; // a completion was taken
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const text = $("text").value;
    const start = text.search(/\S*$/);
    if (start === text.length) return $("words").replaceChildren();
    const { words } = await ask(`/api/complete?${new URLSearchParams({ prefix: text.slice(start) })}`);
    $("words").replaceChildren(...words.map((word) => element("option", { value: text.slice(0, start) + word })));
  }, QUIET);
});

$("file").addEventListener("change", () => $("file").files[0] && searchBy($("file").files[0]));
$("asked").lastElementChild.addEventListener("click", () => {
  forgetPicture();
  $("text").focus();
  search();
});
addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file?.type.startsWith("image/")) searchBy(file);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").hidden = ![...event.dataTransfer.types].includes("Files");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").hidden = true;
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").hidden = true;
  const [file] = event.dataTransfer.files;
  if (file) searchBy(file);
});

$("previous").addEventListener("click", () => openOne(open - 1));
$("next").addEventListener("click", () => openOne(open + 1));
$("close").addEventListener("click", () => $("one").close());
$("one").addEventListener("click", (event) => event.target === $("one") && $("one").close());
$("one").addEventListener("close", () => $("results").children[open]?.focus());
$("one").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft" && open > 0) openOne(open - 1);
  if (event.key === "ArrowRight" && open < shown.length - 1) openOne(open + 1);
});
$("like").addEventListener("click", () => {
  const { id, path } = shown[open];
  $("one").close();
  searchLike(id, nameOf(path));
  search();
});
addEventListener("popstate", restore);

ask("/api/status").then(({ pictures, bundle, domain }) => {
  if (!shown.length && !$("note").textContent) note(`${pictures} pictures · bundle ${bundle}: ${domain}`);
});
restore();
