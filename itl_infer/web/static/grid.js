// The pictures found, as a grid that grows while it is scrolled, and that arrow keys move in.

import { $, element, nameOf, printable } from "./dom.js";

const EAGER = 12; // pictures that are loaded at once, as they are in sight

export function makeGrid({ source, open, more, marks }) {
  const main = $("results");
  const inSight = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && more(), {
    rootMargin: "1200px 0px",
  });

  function card(found, place) {
    const copies = found.duplicates ? ` +${found.duplicates.length} like it` : "";
    const name = nameOf(found.path);
    const image = { src: source.thumbnail(found), alt: "", loading: place < EAGER ? "eager" : "lazy", decoding: "async" };
    const button = element(
      "button",
      { type: "button", title: printable(found.path) },
      element("img", image),
      element(
        "span",
        { className: "caption" },
        element("b", { textContent: found.rank }),
        element("i", { textContent: found.score.toFixed(4) + copies }),
      ),
      element("span", { className: "name", textContent: name }),
    );
    button.setAttribute("aria-label", `${found.rank}: ${name}, score ${found.score.toFixed(2)}`);
    button.addEventListener("click", () => open(place));
    button.addEventListener("keydown", (event) => {
      const mark = marks.ofKey(event);
      if (mark) marks.set(found.id, mark);
    });
    marks.dress(button, found.id);
    return button;
  }

  function move(key) {
    const cards = [...main.children];
    const at = cards.indexOf(document.activeElement);
    if (at < 0) return false;
    const columns = getComputedStyle(main).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const ends = { Home: 0, End: cards.length - 1 };
    const to = key in ends ? ends[key] : at + steps[key];
    if (key === "ArrowUp" && to < 0) $("text").focus();
    cards[Math.min(to, cards.length - 1)]?.focus();
    return true;
  }

  main.addEventListener("keydown", (event) => {
    if (!event.altKey && !event.ctrlKey && !event.metaKey && /^(Arrow|Home$|End$)/.test(event.key) && move(event.key)) {
      event.preventDefault();
    }
  });

  return {
    // `before`: how many of the results stand in the grid already.
    show(results, before) {
      const cards = results.slice(before).map((found, place) => card(found, before + place));
      if (before) main.append(...cards);
      else main.replaceChildren(...cards);
      inSight.disconnect();
    },
    // Asks for more as soon as the end is in sight, which it may be already.
    waitForMore() {
      inSight.disconnect();
      inSight.observe($("end"));
    },
    focus: (place) => main.children[place]?.focus(),
    first: () => main.children[0]?.focus(),
    busy: (is) => main.setAttribute("aria-busy", String(is)),
  };
}
