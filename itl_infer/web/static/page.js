// Search, show, explain: joins the parts of the page, and asks `source` (see server.js) for everything.

import { completeWords } from "./complete.js";
import { $, nameOf } from "./dom.js";
import { makeFilters } from "./filters.js";
import { makeGrid } from "./grid.js";
import { readLink, writeLink } from "./link.js";
import { makeMarks } from "./marks.js";
import { describe, note } from "./note.js";
import { makeOne } from "./one.js";
import { makeAsked } from "./picture.js";

const PORTION = 60; // pictures asked for at a time
const PATIENCE = 500; // ms after which waiting is said
const LOOK = 3000; // ms between looks at an index that holds nothing yet
const LOADING = "Loading…";
const SWITCHES = ["relevant", "dedupe"];

export function start(source) {
  let results = []; // those on the page, best first
  let shown = null; // what they answer: {asked, answer, offset, more, fetching, aborting}
  let status = { text: "" }; // of the source: its line stands below the box while nothing is asked

  const marks = makeMarks({ source, changed: () => search(), say: note });
  const grid = makeGrid({ source, open: (place) => one.open(place), more, marks });
  const filters = makeFilters({ source, changed: () => search() });
  const asked = makeAsked({ source, search });
  const one = makeOne({
    source,
    marks,
    results: () => results,
    more,
    closed: grid.focus,
    like(found) {
      $("text").value = "";
      marks.clear();
      asked.like(found.id, nameOf(found.path));
      search();
    },
  });

  async function search({ remember = true } = {}) {
    const focused = document.activeElement?.closest("#results > button") ? [...$("results").children].indexOf(document.activeElement) : -1;
    if (marks.any() && shown && shown.asked.q !== $("text").value.trim()) marks.clear(); // they were of another question
    const wanted = { q: $("text").value.trim(), ...asked.asked, ...filters.read(), ...marks.asked() };
    for (const name of SWITCHES) wanted[name] = $(name).checked;
    shown?.aborting.abort();
    if (!wanted.q && !wanted.like && !wanted.picture && !marks.any()) {
      if (remember) writeLink(wanted);
      return clear();
    }
    if (remember && !wanted.picture) writeLink(wanted);
    const mine = (shown = { asked: wanted, answer: null, offset: 0, more: true, aborting: new AbortController() });
    grid.busy(true);
    const waiting = setTimeout(() => mine === shown && note("Searching…"), PATIENCE);
    try {
      await fetchMore(mine);
      if (focused < 0) scrollTo(0, 0);
      else grid.focus(Math.min(focused, results.length - 1)); // where the keyboard was, to mark the next
    } catch (error) {
      if (mine !== shown || error.name === "AbortError") return;
      mine.more = false;
      results = [];
      grid.show(results, 0);
      note(error.message);
    } finally {
      clearTimeout(waiting);
      if (mine === shown) grid.busy(false);
    }
  }

  function clear() {
    shown = null;
    results = [];
    grid.show(results, 0);
    grid.busy(false);
    note(status.text);
  }

  async function fetchMore(mine) {
    const { asked: wanted, offset, aborting } = mine;
    const answer = await source.search(wanted, { offset, k: PORTION, signal: aborting.signal });
    if (mine !== shown) return;
    const first = mine.answer === null;
    // An index that grows meanwhile moves pictures from one portion to the next.
    const known = new Set(first ? [] : results.map((found) => found.path));
    const before = known.size;
    results = [...(first ? [] : results), ...answer.results.filter((found) => !known.has(found.path))];
    mine.answer ??= answer;
    mine.offset += answer.results.length;
    mine.more = answer.results.length === PORTION;
    grid.show(results, first ? 0 : before);
    describe(mine.answer, results.length, mine.more, correct);
    if (status.pictures === 0) note(status.text);
    else if (!results.length && filters.count()) note(`No picture passes the filters${wanted.relevant ? ", and stands out" : ""}.`);
    if (mine.more) grid.waitForMore();
  }

  function more() {
    const mine = shown;
    if (!mine?.more || !mine.answer) return Promise.resolve();
    mine.fetching ??= fetchMore(mine)
      .catch((error) => {
        if (mine !== shown || error.name === "AbortError") return;
        mine.more = false; // what is there stays
        note(`${$("note").textContent} · ${error.message}`);
      })
      .finally(() => (mine.fetching = null));
    return mine.fetching; // the portion on its way, which others wait for too
  }

  function correct(word, meant) {
    const text = $("text").value;
    const start = text.toLowerCase().indexOf(word);
    $("text").value = start < 0 ? meant : text.slice(0, start) + meant + text.slice(start + word.length);
    search();
  }

  function restore() {
    const link = readLink();
    asked.forget();
    marks.clear();
    if (link.like) asked.like(link.like, "");
    $("text").value = link.q;
    filters.write(link);
    for (const name of SWITCHES) $(name).checked = link[name];
    search({ remember: false });
  }

  async function look() {
    const before = status.text;
    const isQuiet = () => !shown && ["", before, LOADING].includes($("note").textContent);
    const waiting = setTimeout(() => isQuiet() && note(LOADING), PATIENCE);
    status = await source.status().finally(() => clearTimeout(waiting));
    if (isQuiet()) note(status.text);
    if (status.pictures === 0) setTimeout(() => look().catch(() => {}), LOOK);
  }

  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  for (const name of SWITCHES) {
    $(name).closest("label").hidden = !source.abilities[name];
    $(name).addEventListener("change", () => search());
  }
  $("text").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || $("words").children.length) return;
    event.preventDefault();
    grid.first();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, dialog")) return;
    event.preventDefault();
    $("text").focus();
    $("text").select();
  });
  addEventListener("popstate", restore);
  completeWords(source);
  $("hint")?.remove();
  look().catch((error) => !shown && note(error.message));
  const typed = $("text").value; // before anything here could hear it
  restore();
  if (!shown) $("text").value = typed;
}
