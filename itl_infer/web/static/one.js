// One picture, large, with where it lies and what each word did for it.

import { $, copyFrom, element, folderOf, nameOf, printable } from "./dom.js";

export function makeOne({ source, marks, results, more, like, closed }) {
  const dialog = $("one");
  const [folder, copy] = $("folder").children;
  let at = 0; // which of the results it shows

  function open(place) {
    at = place;
    const shown = results();
    const found = shown[place];
    const shares = shown.flatMap((one) => (one.shares ?? []).map((share) => Math.abs(share.share)));
    const scale = shares.reduce((most, share) => Math.max(most, share), 1e-9);
    showPicture(found);
    $("name").textContent = nameOf(found.path);
    folder.value = printable(folderOf(found.path));
    $("folder").hidden = !folder.value;
    copy.textContent = "Copy";
    $("score").textContent = `${found.rank} of ${shown.length} shown, score ${found.score.toFixed(4)}`;
    $("facts").textContent = factsOf(found);
    $("facts").hidden = !$("facts").textContent;
    $("shares").replaceChildren(...(found.shares ?? []).flatMap((share) => bar(share, scale)));
    const original = source.original(found);
    $("original").hidden = !original;
    if (original) $("original").href = original;
    else $("original").removeAttribute("href");
    $("previous").disabled = place === 0;
    $("next").disabled = place === shown.length - 1;
    if (!dialog.open) dialog.showModal();
    if (place >= shown.length - 2) more().then(() => dialog.open && ($("next").disabled = at >= results().length - 1));
  }

  function showPicture(found) {
    const image = $("picture");
    const [large, small] = [source.picture(found), source.thumbnail(found)];
    image.onerror = large === small ? null : () => {
      image.onerror = null;
      image.src = small; // of a format that this browser does not show
    };
    image.src = large;
    image.alt = nameOf(found.path);
  }

  const step = (by) => results()[at + by] && open(at + by);

  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => dialog.close());
  $("like").addEventListener("click", () => {
    dialog.close();
    like(results()[at]);
  });
  function put(mark) {
    dialog.close();
    marks.set(results()[at].id, mark);
  }

  for (const mark of ["wanted", "unwanted"]) {
    $(mark).hidden = !source.abilities.names;
    $(mark).addEventListener("click", () => put(mark));
  }
  folder.addEventListener("focus", () => folder.select());
  copy.addEventListener("click", async () => {
    copy.textContent = (await copyFrom(folder)) ? "Copied" : "Press Ctrl+C";
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => closed(at));
  dialog.addEventListener("keydown", (event) => {
    if (event.target === folder) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
    const mark = source.abilities.names && marks.ofKey(event);
    if (mark) put(mark);
  });
  return { open };
}

const factsOf = ({ taken, camera, width, height }) =>
  [taken?.slice(0, 16).replace("T", " "), camera, width && `${width} × ${height}`].filter(Boolean).join(" · ");

function bar(share, scale) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", "100%");
  rect.setAttribute("height", "100%");
  svg.append(rect);
  svg.style.width = `${(100 * Math.abs(share.share)) / scale}%`;
  const term = (share.weight < 0 ? "- " : "") + nameOf(share.term);
  const value = (share.share < 0 ? "" : "+") + share.share.toFixed(3);
  return [
    element("dt", { textContent: term }),
    element("dd", { className: share.share < 0 ? "against" : "for" }, svg, value),
  ];
}
