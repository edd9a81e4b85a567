// What the page asks: search, complete, more like this; answers are those of the API of `itl-infer serve`.

import { CaptionBranch, dot } from "./caption.js";
import { CarriedWords } from "./carried.js";
import { Languages } from "./languages.js";
import { Letters } from "./letters.js";
import { Names } from "./names.js";
import { Negations } from "./negation.js";
import { QueryReader, rounded, sharesOf, wordsOf } from "./query.js";
import { TextProcessor } from "./text.js";
import { Vectors } from "./vectors.js";

const FORMAT = 1; // of text.json, vectors.json and names.json
const NEAR_DUPLICATE = 0.98; // a cosine from which on two pictures count as one
const SHARE_OF_BEST = 0.85; // what stands out has at least so much of the best score

/**
 * The engine over what Python wrote (text_data.py, index_data.py). `fetchBytes(name)` gives a promise of the bytes of one
 * of its files, a Uint8Array; `createWorker()` a Worker that runs worker.js, of which there may be several. With `eager`
 * what may be needed later is fetched behind the first answer; without where the visitor's browser is to save data.
 * `hasNames` says whether names were taught.
 */
export async function openEngine({ fetchBytes, createWorker, hasNames = false, eager = !isToSaveData() }) {
  const readJson = async (name) => {
    const content = JSON.parse(decoded(await fetchBytes(name)));
    if (content.format !== FORMAT) throw new Error(`${name} is of format ${content.format}, this page reads ${FORMAT}`);
    return content;
  };
  const [text, bytes, vectors, names] = await Promise.all([
    readJson("text.json"),
    fetchBytes("text.bin"),
    readJson("vectors.json").then((description) => Vectors.open(description, fetchBytes, createWorker, eager)),
    hasNames ? Promise.all([readJson("names.json"), fetchBytes("names.bin")]) : null,
  ]);
  return new Engine(text, bytes, vectors, names, fetchBytes);
}

const isToSaveData = () => Boolean(globalThis.navigator?.connection?.saveData);

class Engine {
  constructor(text, bytes, vectors, names, fetchBytes) {
    const letters = new Letters(text.letters);
    const once = (make) => {
      let made = null;
      return () => (made ??= make().catch((error) => ((made = null), Promise.reject(error))));
    };
    const read = async (name) => decoded(await fetchBytes(name));
    this.vectors = vectors;
    this.bundle = text.bundle;
    this.domain = text.domain;
    this.processor = new TextProcessor(text, letters);
    this.tables = {
      carried: once(async () => (text.has_carried ? new CarriedWords(await read("carried.tsv"), this.processor) : null)),
      languages: once(async () => new Languages(await read("languages.txt"), letters)),
    };
    const negations = new Negations(text.negation, letters);
    const caption = new CaptionBranch(text.caption, bytes);
    const taught = names && new Names(...names, letters);
    this.reader = new QueryReader(text, letters, this.processor, negations, caption, this.tables, taught);
  }

  /** How many pictures there are. */
  get pictures() {
    return this.vectors.length;
  }

  /** Done when a query waits for no file of vectors any more. */
  fetchAhead() {
    return this.vectors.fetchAhead();
  }

  /**
   * The best pictures for a text, as the API of the page answers; each has `row`, its number, in place of a path.
   *
   * `mask` (Uint8Array of one for each picture) has a 1 for those that may be found. `like` is the row of a picture to
   * add, `likeName` what to call it; text may be null then. `subtract` are texts. Of the best, those from place `offset`
   * on. Rejects with an Error that says what is wrong with the query.
   */
  async search(text, options = {}) {
    const { k = 60, offset = 0, mask = null, explain = false, relevant = false, dedupe = false } = options;
    const { like = null, likeName = `picture ${like}`, subtract = [], understandNot = false } = options;
    const pictures = like === null ? [] : [{ name: likeName, vector: await this.vectors.vectorOf(like) }];
    const query = await this.reader.embed({ text, subtract, understandNot, pictures });
    const relevantFrom = relevant ? await this.relevantFrom(query.vector) : null;
    const groups = await this.groups(query.vector, offset + k, mask, dedupe ? NEAR_DUPLICATE : null);
    const terms = explain ? this.reader.terms(query) : [];
    const words = wordsOf(query);
    const standing = groups.filter(([{ score }]) => relevantFrom === null || score >= relevantFrom);
    const { asked } = query; // as it was understood
    return {
      query: asked.text,
      ...(pictures.length ? { images: pictures.map(({ name }) => name) } : {}),
      ...(asked.subtract.length ? { subtract: asked.subtract } : {}),
      ...(words.taught.length ? { taught: words.taught } : {}),
      ignored_words: words.ignored,
      unknown_words: words.unknown,
      read_as: Object.fromEntries(words.carried.map(({ word, stems }) => [word, stems])),
      notes: query.notes,
      ...(explain ? { words: this.reader.describeWords(words) } : {}),
      ...(relevantFrom === null ? {} : { relevant_from: rounded(relevantFrom) }),
      results: standing.slice(offset).map(([first, ...copies], place) => ({
        rank: offset + place + 1,
        score: rounded(first.score),
        row: first.row,
        ...(terms.length ? { shares: sharesOf(terms, first.vector, first.score) } : {}),
        ...(copies.length ? { duplicates: copies.map(({ row, score }) => ({ score: rounded(score), row })) } : {}),
      })),
    };
  }

  /** The pictures that are most like one of them, that one first. */
  similar(row, options = {}) {
    return this.search(null, { ...options, like: row });
  }

  /** The `count` commonest known words that begin with what was typed; below them, where there are fewer, carried ones. */
  async complete(typed, count = 10) {
    if (!typed) return [];
    const known = this.processor.complete(typed, count);
    if (known.length >= count) return known;
    const carried = await this.tables.carried().catch(() => null); // which a query would say
    const start = this.processor.letters.plain(typed);
    return carried ? [...known, ...carried.startingWith(start, count - known.length)] : known;
  }

  /** The lowest score that stands out from all: an outlier among them, and not far from the best. */
  async relevantFrom(vector) {
    const { found, fence } = await this.vectors.best(vector, 1, { wantsFence: true });
    return found.length ? Math.max(fence, SHARE_OF_BEST * found[0].score) : Infinity;
  }

  /** The `count` best pictures, each alone, or followed by those whose cosine with it reaches `threshold`. */
  async groups(vector, count, mask, threshold) {
    for (let asked = count; ; asked *= 4) {
      const { found } = await this.vectors.best(vector, asked, { mask });
      if (threshold === null) return found.map((one) => [one]);
      const groups = fold(found, count, threshold);
      if (groups.isFull || found.length < asked) return groups.folded;
    }
  }
}

/** In order of score, each picture joins the first better one that is as good as the same. */
function fold(found, count, threshold) {
  const folded = [];
  for (const one of found) {
    const better = folded.find(([first]) => dot(first.vector, one.vector) >= threshold);
    if (better) better.push(one);
    else if (folded.length === count) return { folded, isFull: true };
    else folded.push([one]);
  }
  return { folded, isFull: false };
}

const decoded = (bytes) => new TextDecoder().decode(bytes);
