// A text becomes the ids of its stems, as itl_infer/text does it: split, read by the rules, looked up.

import { countCharacters, firstCharacters, isAscii } from "./letters.js";
import { stemWord } from "./stemmer.js";

const LONGEST_WORD = 100; // longer than any word worth stemming
const CLITICS = new Set(["s", "re", "ve", "ll", "d", "m"]); // what English hangs on a word with an apostrophe
const ALONE = new Set([...[...CLITICS].map((clitic) => `'${clitic}`), "n't"]);

export const stemOrWhole = (word) => (countCharacters(word) <= LONGEST_WORD ? stemWord(word) : word);

/** The words of a text: in plain letters, and as they were typed, in lower case. */
export class Splitter {
  constructor(letters) {
    this.letters = letters;
    const { alnum, letter, space } = letters.classes;
    this.token = new RegExp(
      `(?<![${alnum}])[${letter}](?:\\.[${letter}])+\\.?(?![${alnum}])` + // "u.s." and "r.v"
        "|[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])" + // "10,000"
        `|[${alnum}]+(?:['\\-][${alnum}]+)*` + // "dog", "dog's", "sky-diver"
        `|[^${alnum}_${space}]`, // a mark, which parts what stands beside it
      "gu",
    );
  }

  split(text) {
    const { letters } = this;
    if (isAscii(text)) {
      const words = Array.from(text.toLowerCase().matchAll(this.token), ([word]) => withoutMarks(word));
      return { words, typed: words };
    }
    const characters = [...text];
    const plain = characters.map((character) => letters.plainCharacter(character));
    const placeOf = plain.flatMap((part, place) => Array(part.length).fill(place)); // of each plain unit
    let length = 0;
    const ends = plain.map((part) => (length += part.length));
    const found = [...plain.join("").matchAll(this.token)];
    const typed = found.map(({ 0: token, index }) => {
      const first = placeOf[index];
      let last = placeOf[index + token.length - 1];
      if (first === last && token.length < plain[first].length) return token; // one of several words in one character
      // Accents that were typed as characters of their own.
      while (last + 1 < ends.length && ends[last + 1] === ends[last] && !letters.isSpace(characters[last + 1])) last++;
      return letters.lower(characters.slice(first, last + 1).join(""));
    });
    return { words: found.map(([word]) => withoutMarks(word)), typed };
  }
}

/** "u.s." and "10,000" as one word. */
const withoutMarks = (word) => (countCharacters(word) > 1 ? word.replace(/[.,]/g, "") : word);

/** The table by which forms of one word are one word. */
class WordForms {
  constructor(content) {
    const section = (name) => {
      const [, after = ""] = `\n${content}`.split(`\n[${name}]\n`);
      return after.split(/^\[/m)[0].split("\n").filter(Boolean);
    };
    const pairs = (name) =>
      new Map(
        section(name).map((line) => {
          const space = line.indexOf(" ");
          return [line.slice(0, space), line.slice(space + 1)];
        }),
      );
    this.words = pairs("words");
    this.stems = pairs("stems");
    this.apart = new Set(section("apart"));
    this.compounds = new Map([...pairs("compounds")].map(([first, rest]) => [first, rest.split(" ")]));
    this.firstParts = new Map();
    for (const [first, rest] of this.compounds) for (const second of rest) this.firstParts.set(first + second, first);
  }
}

/** Reads the words of a text: which stem each is, which are stop words, which two are one. */
class Reader {
  constructor(letters, splitter, stopWords, forms, known, ids) {
    Object.assign(this, { letters, splitter, stopWords, forms, known, ids });
  }

  /** [word as it was typed, its stem or null for a stop word] for each word, in order. */
  read(text) {
    if (ALONE.has(text)) return [[text, text]]; // as in a list of words: there it is one of them
    const { words, typed } = this.splitter.split(text);
    const found = [];
    for (let place = 0; place < words.length; place++) {
      const word = words[place];
      if (this.forms.compounds.has(word)) {
        const one = place + 1 < words.length ? this.compound(word, words[place + 1]) : null;
        if (one !== null) {
          found.push([`${typed[place]} ${typed[place + 1]}`, one]);
          place++;
          continue;
        }
      } else if (this.stopWords.has(word)) {
        found.push([typed[place], null]);
        continue;
      }
      this.readWord(word, typed[place], found);
    }
    return found;
  }

  /** The stem of one word in plain letters, by the stemmer and the table of forms. */
  stemOf(word) {
    const { apart, words, stems } = this.forms;
    if (apart.has(word)) return word;
    if (!words.has(word) && word.endsWith("s") && words.has(word.slice(0, -1))) word = word.slice(0, -1); // "womens"
    const found = stemOrWhole(words.get(word) ?? word);
    return stems.get(found) ?? found;
  }

  stem(word) {
    return this.known.get(word) || this.stemOf(word);
  }

  readWord(word, typed, found) {
    if (this.known.has(word)) {
      found.push([typed, this.known.get(word)]);
      return;
    }
    const [first] = word;
    if (!this.letters.isAlnum(first)) {
      if (!isAscii(word) && this.letters.isSymbol(first)) found.push([typed, word]);
      return;
    }
    if (word.includes("'")) {
      if (this.stopWords.has(word) || word.endsWith("n't")) {
        found.push([typed, null]);
        return;
      }
      word = withoutClitic(word).replaceAll("'", "");
    }
    if (word.includes("-")) this.readHyphenated(word, typed, found);
    else if (this.stopWords.has(word)) found.push([typed, null]);
    else {
      const stem = this.stem(word);
      const length = this.ids.has(stem) ? 0 : this.firstPart(word);
      if (!length) found.push([typed, stem]);
      else this.readParts([word.slice(0, length), word.slice(length)], sliced(typed, length), found);
    }
  }

  /** As one word where there is such a word, else as its parts: "sky-diver", but "brown" and "haired". */
  readHyphenated(word, typed, found) {
    const parts = word
      .split("-")
      .map((part) => (this.letters.isDigit(part) ? this.forms.words.get(part) ?? part : part));
    const one = this.stem(parts.join(""));
    if (parts.every((part) => this.stopWords.has(part)) || this.ids.has(one)) found.push([typed, one]);
    else this.readParts(parts, typed.split("-"), found);
  }

  readParts(parts, typed, found) {
    if (typed.length !== parts.length) typed = parts; // with another kind of hyphen
    parts.forEach((part, place) => this.readWord(part, typed[place], found));
  }

  /** The stem of two words that are one, "hot dogs", or null. */
  compound(first, second) {
    second = withoutClitic(second);
    if (!this.isCompound(first, second)) return null;
    const one = this.stem(first + second);
    return this.ids.has(one) ? one : null;
  }

  isCompound(first, second) {
    if (!this.letters.isAlnum(second)) return false;
    const plainest = this.forms.words.get(second) ?? second;
    return (this.forms.compounds.get(first) ?? []).some(
      (known) =>
        known === plainest ||
        // All but the last letter is as in the table: "dive" and "diving", "berry" and "berries".
        (second.startsWith(known.slice(0, -1)) && this.stemOf(first + second) === this.stemOf(first + known)),
    );
  }

  firstPart(word) {
    const { firstParts } = this.forms;
    return (firstParts.get(word) || firstParts.get(word.replace(/s$/, "")) || "").length;
  }
}

function withoutClitic(word) {
  const place = word.lastIndexOf("'");
  return CLITICS.has(word.slice(place + 1)) && place >= 0 ? word.slice(0, place) : word;
}

/** A typed word parted behind so many characters. */
function sliced(typed, length) {
  const characters = [...typed];
  return [characters.slice(0, length).join(""), characters.slice(length).join("")];
}

const linesOf = (content) => (content ? content.replace(/\n$/, "").split("\n") : []);
const partsOf = (line) => line.split(" ");

/** Text to ids, for one vocabulary: stem i of it, counted from 1, has id i. */
export class TextProcessor {
  /** `data` is the text.json that Python wrote, `letters` are those of it. */
  constructor(data, letters) {
    this.letters = letters;
    this.stems = linesOf(data.vocabulary);
    this.spellings = data.words === null ? this.stems.map((stem) => [stem]) : linesOf(data.words).map(partsOf);
    this.words = this.spellings.map(([commonest]) => commonest);
    this.ids = new Map(this.stems.map((stem, place) => [stem, place + 1]));
    const known = new Map();
    if (data.words !== null) this.spellings.forEach((words, i) => words.forEach((word) => known.set(word, this.stems[i])));
    const splitter = new Splitter(letters);
    const stopWords = new Set(data.stop_words);
    this.reader = new Reader(letters, splitter, stopWords, new WordForms(data.forms), known, this.ids);
  }

  /** What became of the words of a text; of its carried ones nothing yet, but `others`: [word, stem] each. */
  parse(text) {
    const used = new Map();
    const ignored = new Set();
    const others = [];
    for (const [word, stem] of this.reader.read(text)) {
      if (stem === null) ignored.add(word);
      else if (this.ids.has(stem)) used.set(word, this.ids.get(stem));
      else others.push([word, stem]);
    }
    return { used, ids: [...new Set(used.values())], ignored: [...ignored], others };
  }

  /** The commonest word of a stem, or the singular of that: building, where the shortest form is build. */
  noun(id) {
    const [word, known] = [this.words[id - 1], this.spellings[id - 1]];
    const singulars = ["s", "es"].filter((end) => word.endsWith(end)).map((end) => word.slice(0, -end.length));
    return singulars.find((one) => known.includes(one)) ?? word;
  }

  /** The first `count` known words that begin with what was typed. */
  complete(typed, count) {
    const start = this.letters.plain(typed);
    const found = [];
    for (const word of this.words) if (word.startsWith(start) && found.push(word) === count) break;
    return found;
  }

  /** What is looked for among the words where one is unknown. */
  sought(typed) {
    return firstCharacters(this.letters.plain(typed), LONGEST_WORD);
  }
}
