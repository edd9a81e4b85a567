// Which pictures are looked at: by folder, name, date, camera and shape, as far as whoever answers can tell.

import { $, element } from "./dom.js";

export const FILTERS = ["under", "name", "taken", "camera", "orientation"];

export function makeFilters({ source, changed }) {
  const box = $("filters");
  const fields = FILTERS.map((name) => box.querySelector(`[name=${name}]`));
  const summary = box.querySelector("summary");

  function count() {
    const given = fields.filter((field) => field.value.trim()).length;
    summary.textContent = given ? `Filters (${given})` : "Filters";
    return given;
  }

  for (const field of fields) {
    field.closest("label").hidden = !source.abilities.filters.includes(field.name);
    field.addEventListener("change", () => {
      count();
      changed();
    });
  }
  box.hidden = source.abilities.filters.length === 0;
  box.querySelector("button").addEventListener("click", () => {
    for (const field of fields) field.value = "";
    count();
    changed();
  });
  source.folders?.().then(
    (folders) => $("folders").replaceChildren(...folders.map((value) => element("option", { value }))),
    () => {}, // said by the first search
  );

  return {
    read: () => Object.fromEntries(fields.map((field) => [field.name, field.value.trim()])),
    write(asked) {
      for (const field of fields) field.value = asked[field.name] ?? "";
      if (count()) box.open = true;
    },
    count,
  };
}
