// Words that complete what is being typed.

import { $, element } from "./dom.js";

const QUIET = 120; // ms without a key before completions are asked for

export function completeWords(source) {
  let waiting;
  const complete = async () => {
    const text = $("text").value;
    const start = text.search(/\S*$/);
    const words = start === text.length ? [] : await source.complete(text.slice(start)).catch(() => []);
    if (text !== $("text").value) return; // typed on meanwhile
    $("words").replaceChildren(...words.map((word) => element("option", { value: text.slice(0, start) + word })));
  };
  const completeSoon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(complete, QUIET);
  };
  $("text").addEventListener("input", (event) => {
    if (event.inputType === "insertReplacementText" || !event.inputType) return; // a completion was taken
    completeSoon();
  });
  if (document.activeElement === $("text") && $("text").value) completeSoon(); // typed before this could hear it
}
