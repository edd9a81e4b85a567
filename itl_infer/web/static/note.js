// The line below the search box: how many were found, and what became of the words.

import { $, counted, element } from "./dom.js";

export function note(text) {
  $("note").textContent = text;
}

// `shown` pictures of an answer, of which there may be `more`; `correct` takes a word and the one that was meant.
export function describe(answer, shown, more, correct) {
  const parts = [more ? `the best ${counted(shown, "picture")}, more below` : counted(shown, "picture")];
  for (const { word, use, read_as } of answer.words ?? []) {
    if (use === "carried") parts.push(` · ${word}: read as ${read_as.join(", ")}`);
  }
  for (const use of ["dropped", "unknown"]) {
    const words = (answer.words ?? []).filter((word) => word.use === use);
    words.forEach((word, place) => {
      parts.push(place ? ", " : ` · ${use}: `, word.word);
      const meant = (word.did_you_mean ?? []).slice(0, 2);
      meant.forEach((other, number) => {
        parts.push(number ? " or " : " (did you mean ", correction(word.word, other, correct));
      });
      if (meant.length) parts.push("?)");
    });
  }
  for (const said of answer.notes ?? []) parts.push(` · ${said}`);
  $("note").replaceChildren(...parts);
}

function correction(word, meant, correct) {
  const button = element("button", { type: "button", textContent: meant });
  button.addEventListener("click", () => correct(word, meant));
  return button;
}
