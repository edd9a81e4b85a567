// Pictures that are marked as wanted or not, which rank the others anew, and are kept as a name.

import { $ } from "./dom.js";

const KEYS = { "+": "wanted", "=": "wanted", "-": "unwanted" };
const MARKS = { wanted: "wanted", unwanted: "not wanted" };

export function makeMarks({ source, changed, say }) {
  const of = new Map(); // from the id of a picture to its mark
  const box = $("marks");
  const [said, form, forget] = box.children;

  const ids = (mark) => [...of].filter(([, its]) => its === mark).map(([id]) => id);

  function show() {
    box.hidden = of.size === 0;
    said.textContent = `${ids("wanted").length} wanted, ${ids("unwanted").length} not`;
  }

  function set(id, mark) {
    if (!source.abilities.names) return;
    if (of.get(id) === mark) of.delete(id);
    else of.set(id, mark);
    show();
    changed();
  }

  function clear() {
    of.clear();
    show();
  }

  forget.addEventListener("click", () => {
    clear();
    changed();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = form.elements.called.value.trim();
    if (!name) return;
    try {
      const taught = await source.teach(name, ids("wanted"), ids("unwanted"));
      form.reset();
      say(`${taught.name} is taught, from ${taught.examples} pictures: ask for it like a word.`);
    } catch (error) {
      say(error.message);
    }
  });

  return {
    asked: () => ({ wanted: ids("wanted"), unwanted: ids("unwanted") }),
    any: () => of.size > 0,
    clear,
    set,
    // The mark that a key stands for; undefined for all others.
    ofKey: (event) => (event.altKey || event.ctrlKey || event.metaKey ? undefined : KEYS[event.key]),
    // Shows on a button what its picture is marked as.
    dress(button, id) {
      const mark = of.get(id);
      for (const one of Object.keys(MARKS)) button.classList.toggle(one, one === mark);
      if (mark) button.setAttribute("aria-description", MARKS[mark]);
      else button.removeAttribute("aria-description");
    },
  };
}
