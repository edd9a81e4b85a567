// Answers questions to the page's modules, a line of JSON each: node ask.mjs BROWSER_FOLDER [DATA_FOLDER]

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [, , browser, data] = process.argv;
const load = (name) => import(new URL(name, `${pathToFileURL(browser)}/`).href);
const { openEngine } = await load("engine.js");
const { stemWord } = await load("stemmer.js");
const { shorten, quoted } = await load("shorten.js");
const { Letters } = await load("letters.js");
const { RankingDesk } = await load("ranking.js");

/** What is in worker.js, without a thread. */
function createDesk() {
  const desk = new RankingDesk();
  let listener;
  return {
    addEventListener: (type, given) => type === "message" && (listener = given),
    postMessage: (asked) => {
      const answer = structuredClone(desk.answer(structuredClone(asked)));
      queueMicrotask(() => listener({ data: { id: asked.id, answer } }));
    },
  };
}

const fetched = [];
const fetchBytes = async (name) => {
  fetched.push(name);
  return new Uint8Array(await readFile(`${data}/${name}`));
};
const hasNames = existsSync(`${data}/names.json`);
const engine = data ? await openEngine({ fetchBytes, createWorker: createDesk, hasNames, eager: false }) : null;
const letters = data ? engine.processor.letters : null;

async function parsed(text) {
  const { used, ids, ignored, unknown, carried } = await engine.reader.parse(text);
  return {
    ids,
    used: [...used],
    ignored,
    unknown,
    carried: carried.map(({ word, stem, readAs, stems, weights }) => [word, stem, readAs, stems, [...weights]]),
  };
}

const answers = {
  stem: (words) => words.map(stemWord),
  parse: (texts) => Promise.all(texts.map(parsed)),
  negations: (texts) => texts.map((text) => engine.reader.negations.split(text)),
  names: (texts) =>
    texts.map((text) => {
      const { rest, taught } = engine.reader.names.split(text);
      return [rest, taught.map(({ name }) => name)];
    }),
  embed: async (texts) => {
    const found = await Promise.all(texts.map((text) => engine.reader.embed({ text, subtract: [], pictures: [] })));
    return found.map(({ vector }) => [...vector]);
  },
  suggest: (words) => words.map((word) => engine.reader.suggest(word)),
  guess: async (pairs) => {
    const languages = await engine.tables.languages();
    return pairs.map(([unknown, known]) => languages.guess(unknown, known));
  },
  shorten: (texts) => texts.map((text) => [shorten(text, letters), shorten(text, letters, 20), quoted(text, letters)]),
  complete: (prefixes) => Promise.all(prefixes.map((prefix) => engine.complete(prefix))),
  search: (queries) =>
    Promise.all(
      queries.map(([text, options]) =>
        engine
          .search(text, { ...options, mask: options.mask ? Uint8Array.from(options.mask) : null })
          .catch((error) => ({ error: error.message })),
      ),
    ),
  letters: (characters) =>
    [...characters].map((one) => [
      letters.plain(one),
      letters.lower(one),
      letters.isAlnum(one),
      letters.isAlpha(one),
      letters.isDigit(one),
      letters.isSpace(one),
      letters.isSymbol(one),
    ]),
  fetched: () => fetched,
};

for await (const line of createInterface({ input: process.stdin })) {
  const [what, given] = JSON.parse(line);
  console.log(JSON.stringify(await answers[what](given)));
}
