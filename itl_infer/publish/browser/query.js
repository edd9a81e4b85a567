// A query: texts and pictures, added and subtracted, as one unit vector that knows its terms.

import { dot } from "./caption.js";
import { firstCharacters } from "./letters.js";
import { withLanguage } from "./languages.js";
import { quoted, shorten } from "./shorten.js";
import { closeMatches } from "./suggest.js";

const LISTED = 10; // words named in a message
const SUGGESTED = 2; // for one of them
const NEAR = 0.75; // twice the letters that two words share, over the letters of both
const NOTHING = 1e-4; // a shorter sum of unit vectors has no direction worth the name
const EMPTY = 'the query is empty: write a few words, such as "surfer in a wave"';

/** Reads texts and makes their vectors, with tables that are fetched when a word needs them. */
export class QueryReader {
  /** `tables()` gives {carried, languages}, each a function that fetches it once; carried and `names` may be null. */
  constructor(data, letters, processor, negations, caption, tables, names) {
    Object.assign(this, { name: data.bundle_in_messages, letters, processor, negations, caption, tables, names });
  }

  /** What became of the words of any text, whether one of them is known or not. */
  async parse(text) {
    const { used, ids, ignored, others } = this.processor.parse(text);
    const table = others.length ? await this.tables.carried() : null;
    const [carried, unknown] = [new Map(), new Set()];
    for (const [word, stem] of others) {
      const found = table?.find(stem);
      if (found) carried.set(word, { ...found, word });
      else unknown.add(word);
    }
    const parsed = { used, ids, ignored, unknown: [...unknown], carried: [...carried.values()] };
    return { ...parsed, weighted: weigh(ids, parsed.carried) };
  }

  /** The same of a query; Error where nothing of it is known, or it is not English. */
  async parseQuery(text) {
    const parsed = await this.parse(text);
    const isKnown = parsed.weighted.size > 0;
    if (isKnown && !parsed.unknown.length) return parsed;
    const known = [...parsed.used.keys(), ...parsed.carried.map(({ word }) => word)];
    const language = parsed.unknown.length ? (await this.tables.languages()).guess(parsed.unknown, known) : null;
    if (isKnown && language === null) return parsed;
    if (parsed.unknown.length) {
      const english = known.length ? "English " : "";
      const message = `bundle ${this.name} knows no ${english}word of the query: ${this.describe(parsed.unknown)}`;
      throw new Error(language === null ? message : withLanguage(message, language));
    }
    if (!parsed.ignored.length) throw new Error(EMPTY);
    throw new Error(`the query has only words that are too common to search for: ${listed(parsed.ignored)}`);
  }

  /** The names in a text, what is made of the rest, and notes; Error where neither says anything. */
  async read(text) {
    const { rest, taught } = this.names?.split(text) ?? { rest: text, taught: [] };
    if (!taught.length) return { parsed: await this.parseQuery(text), taught, notes: [] };
    const notes = [];
    for (const { key, name } of taught) {
      if (!(await this.knowsAsWritten(key.split(" ")))) continue;
      notes.push(`${name} is the name that was taught here; as a word of the language: --as-word`);
    }
    const parsed = await this.parse(rest);
    // The second time it says what is to be said of foreign words.
    return { parsed: parsed.weighted.size ? await this.parseQuery(rest) : parsed, taught, notes };
  }

  /** Whether words in plain letters are all known as captions or carried words have them; stop words and marks aside. */
  async knowsAsWritten(words) {
    const { known, ids, stopWords } = this.processor.reader;
    const meant = words.filter((word) => this.letters.isAlnum([...word][0]) && !stopWords.has(word));
    const others = meant.filter((word) => !known.has(word) && !ids.has(word));
    const table = others.length ? await this.tables.carried() : null;
    return meant.length > 0 && others.every((word) => table?.find(word));
  }

  /** Whether there is a known word or a name in a text. */
  async saysSomething(text) {
    return (await this.parse(text)).weighted.size > 0 || Boolean(this.names?.split(text).taught.length);
  }

  /** The known words that are spelled most like an unknown one, best first. */
  suggest(word) {
    const near = closeMatches(this.processor.sought(word), this.processor.words, 3, NEAR);
    return near.filter((one) => this.processor.parse(one).ids.length);
  }

  describe(words) {
    return listed(words, (word) => {
      const near = this.suggest(word).slice(0, SUGGESTED);
      return firstCharacters(word, 40) + (near.length ? ` (did you mean ${near.join(" or ")}?)` : "");
    });
  }

  /**
   * The vector of a query, and all that explains it. `asked` has text (or null), subtract (texts), understandNot, and
   * pictures: [{name, vector}].
   */
  async embed(asked) {
    const understood = await this.understand(asked);
    if (!understood) return this.embedTerms(asked, []);
    const command = shorten(asCommand(understood, this.letters), this.letters);
    if (asked.understandNot) return this.embedTerms(understood, [`read as ${command}`]);
    const leftOut = shorten(understood.subtract.slice(asked.subtract.length).join(", "), this.letters);
    return this.embedTerms(asked, [
      `counts as wanted: ${leftOut}; to leave it out: ${command}, or --understand-not`,
    ]);
  }

  /** With what its text says is not to be seen subtracted; null where that is nothing that is known. */
  async understand(asked) {
    const { rest, phrases } = this.negations.split(asked.text ?? "");
    const known = [];
    for (const phrase of phrases) if (await this.saysSomething(phrase)) known.push(phrase);
    if (!known.length) return null;
    const hasRest = (await this.parse(rest)).unknown.length || (await this.saysSomething(rest));
    const text = hasRest ? rest : null;
    return { ...asked, text, subtract: [...asked.subtract, ...known] };
  }

  async embedTerms(asked, notes) {
    const texts = [
      ...(asked.text === null ? [] : [[1, asked.text]]),
      ...asked.subtract.map((text) => [-1, text]),
    ];
    if (!texts.length && !asked.pictures.length) throw new Error(EMPTY);
    const read = [];
    for (const [, text] of texts) read.push(await this.read(text));
    const parsed = read.map((one) => one.parsed);
    const weights = [...texts.map(([weight]) => weight), ...asked.pictures.map(() => 1)];
    const embeddings = parsed.map(({ weighted }) => (weighted.size ? this.caption.embed(weighted) : null));
    embeddings.push(...asked.pictures.map(({ vector }) => vector));
    const named = read.flatMap(({ taught }, i) => taught.map((one) => ({ ...one, weight: texts[i][0] })));
    if (named.length) {
      const ofTexts = named.map(({ weight }) => weight);
      weights.push(...this.names.weigh(embeddings.filter(Boolean), named, ofTexts));
      embeddings.push(...named.map(({ vector }) => vector));
    }
    const vector = sumOf(weights, embeddings);
    if (!vector) throw new Error(`nothing is left of the query: what it subtracts is what it adds (${inWords(asked)})`);
    return { asked, vector, parsed, weights, embeddings, named, notes: [...notes, ...read.flatMap((one) => one.notes)] };
  }

  /** {name, weight, rest} of each name, word that was used and picture: the vector as it would be without, or null. */
  terms({ asked, parsed, weights, embeddings, named }) {
    const without = (place, embedding) => {
      const kept = (one, i) => embedding || i !== place;
      const others = embeddings.map((one, i) => (i === place ? embedding : one));
      return sumOf(weights.filter(kept), others.filter(kept));
    };
    const terms = named.map(({ name, weight }, i) => {
      return { name, weight, rest: without(parsed.length + asked.pictures.length + i, null) };
    });
    parsed.forEach((text, place) => {
      const words = new Map(); // by their ids, carried ones by their stems
      for (const [word, id] of text.used) if (!words.has(id)) words.set(id, word);
      for (const { stem, word } of text.carried) if (!words.has(stem)) words.set(stem, word);
      for (const [term, name] of words) {
        const ids = text.ids.filter((id) => id !== term);
        const rest = weigh(ids, text.carried.filter(({ stem }) => stem !== term));
        const embedding = words.size > 1 ? this.caption.embed(rest) : null;
        terms.push({ name, weight: weights[place], rest: without(place, embedding) });
      }
    });
    asked.pictures.forEach(({ name }, i) => {
      const place = parsed.length + i;
      terms.push({ name, weight: weights[place], rest: without(place, null) });
    });
    return terms;
  }

  /** The words of a query with what became of each, as the API of the page has them. */
  describeWords(words) {
    return [
      ...words.taught.map((word) => ({ word, use: "taught" })),
      ...words.used.map((word) => ({ word, use: "used" })),
      ...words.carried.map(({ word, readAs }) => ({ word, use: "carried", read_as: readAs })),
      ...words.ignored.map((word) => ({ word, use: "dropped" })),
      ...words.unknown.map((word) => ({ word, use: "unknown", did_you_mean: this.suggest(word) })),
    ];
  }
}

/** The words of all texts of a query, and the names in them, each once. */
export function wordsOf({ parsed, named }) {
  const union = (of) => [...new Set(parsed.flatMap(of))];
  return {
    taught: [...new Set(named.map(({ name }) => name))],
    used: union(({ used }) => [...used.keys()]),
    ignored: union(({ ignored }) => ignored),
    unknown: union(({ unknown }) => unknown),
    carried: [...new Map(parsed.flatMap(({ carried }) => carried.map((one) => [one.word, one]))).values()],
  };
}

/** What each term did for a picture, by its vector and its score. */
export function sharesOf(terms, vector, score) {
  return terms.map(({ name, weight, rest }) => ({
    term: name,
    ...(weight === 1 ? {} : { weight }),
    share: rounded(score - (rest ? dot(rest, vector) : 0)),
  }));
}

export const rounded = (value) => Math.round(value * 1e6) / 1e6;

/** The weight of every id: 1 for those of known words, and what carried words add, each stem once. */
function weigh(ids, carried) {
  const weights = new Map(ids.map((id) => [id, 1]));
  for (const { weights: added } of new Map(carried.map((word) => [word.stem, word])).values()) {
    for (const [id, weight] of added) weights.set(id, (weights.get(id) ?? 0) + weight);
  }
  return weights;
}

/** The unit vector along a weighted sum of unit vectors, some of which may be null; null where it is as good as nothing. */
function sumOf(given, all) {
  const [weights, vectors] = [given.filter((_, i) => all[i]), all.filter(Boolean)];
  if (weights.length === 1 && weights[0] === 1) return vectors[0];
  if (!vectors.length) return null;
  const total = new Float64Array(vectors[0].length);
  vectors.forEach((vector, i) => vector.forEach((value, place) => (total[place] += weights[i] * value)));
  const length = Math.sqrt(dot(total, total));
  return length > NOTHING ? Float32Array.from(total, (value) => value / length) : null;
}

const listed = (words, describe = (word) => firstCharacters(word, 40)) =>
  words.slice(0, LISTED).map(describe).join(", ") + (words.length > LISTED ? ", ..." : "");

const asCommand = ({ text, subtract }, letters) =>
  `query${text === null ? "" : ` ${quoted(text, letters)}`}` +
  subtract.map((one) => ` --subtract ${quoted(one, letters)}`).join("");

function inWords({ text, subtract, pictures }) {
  const added = [...(text === null ? [] : [text]), ...pictures.map(({ name }) => name)];
  return [...added.map((one) => `+ ${one}`), ...subtract.map((one) => `- ${one}`)].join(" ").replace(/^\+ /, "");
}
