// What a text says is not to be seen: the "cars" of "a street without cars".

// As Python's re.IGNORECASE has it, to which a dotted and a dotless i are one.
const MARKER = /w[i\u0130\u0131]thout|no|not|ne[i\u0130\u0131]ther|nor/iu;

export class Negations {
  /** `tables` are the sets of words of negation.py, by their names. */
  constructor(tables, letters) {
    this.letters = letters;
    this.words = Object.fromEntries(Object.entries(tables).map(([name, words]) => [name, new Set(words)]));
    const { alnum, space } = letters.classes;
    this.token = new RegExp(`[${alnum}]+(?:['\\u2019\\-][${alnum}]+)*|[^${alnum}_${space}]`, "gu");
    this.empty = new RegExp(`\\([${space}]*\\)`, "gu");
    this.looseStart = new RegExp(`^(?:(?:and|but|or)(?![${alnum}_])|[,;.${space}])+`, "iu");
    this.looseEnd = new RegExp(`[,;${space}]+$`, "u");
  }

  /** {rest, phrases}: what is left of a text, and what it says is not to be seen. */
  split(text) {
    if (!MARKER.test(text)) return { rest: text, phrases: [] };
    const tokens = Array.from(text.matchAll(this.token), ({ 0: token, index }) => [index, index + token.length]);
    const words = tokens.map(([start, end]) => this.letters.plain(text.slice(start, end)));
    const [phrases, spans] = [[], []];
    let [place, leftFrom] = [0, 0];
    while (place < words.length) {
      const begin = this.beginOfPhrase(words, place);
      const ends = begin === null ? [] : this.endsOfPhrases(words, begin);
      if (!ends.length) {
        place++;
        continue;
      }
      let first = place;
      while (first > leftFrom && this.words.before.has(words[first - 1])) first--;
      for (const [start, end] of ends) phrases.push(text.slice(tokens[start][0], tokens[end - 1][1]));
      place = leftFrom = ends.at(-1)[1];
      spans.push([tokens[first][0], tokens[place - 1][1]]);
    }
    return { rest: spans.length ? this.without(text, spans) : text, phrases };
  }

  /** Where that begins which the word at `place` denies, or null. */
  beginOfPhrase(words, place) {
    const { markers, after_not, places } = this.words;
    let begin = place + 1;
    if (!markers.has(words[place]) || begin === words.length || this.letters.isDigit(words[begin])) return null;
    if (words[place] === "not") {
      if (after_not.has(words[begin])) return null;
      if (places.has(words[begin])) begin++;
    }
    return this.behindDeterminers(words, begin);
  }

  behindDeterminers(words, begin) {
    while (begin < words.length && this.words.determiners.has(words[begin])) begin++;
    return begin;
  }

  /** [start, end] of each thing that is named from `begin` on: "cars or people" are two. */
  endsOfPhrases(words, begin) {
    const found = [];
    for (;;) {
      const end = this.endOfPhrase(words, begin);
      const phrase = words.slice(begin, end);
      if (!this.namesSomething(phrase)) return found;
      if (!found.length && words[begin - 1] === "no" && this.isOnASign(phrase)) return found;
      found.push([begin, end]);
      // "Without cars or people", "without cars and people"; but "no dogs and a cat" wants the cat.
      const { conjunctions } = this.words;
      if (end + 1 >= words.length || !(conjunctions.has(words[end]) || this.isListed(words, end))) return found;
      begin = end + 1;
      if (words[end] === "," && conjunctions.has(words[begin])) begin++;
      const isWanted = words[begin] !== "any" && this.words.determiners.has(words[begin]);
      if (words[end] === "and" && isWanted) return found;
      begin = this.behindDeterminers(words, begin);
    }
  }

  endOfPhrase(words, begin) {
    let end = begin;
    while (end < words.length && !this.words.ends.has(words[end]) && this.isWord(words[end])) end++;
    return end;
  }

  isWord(word) {
    const [first = ""] = word;
    return this.letters.isAlnum(first);
  }

  /** Whether what follows a comma is denied, too: "cars, people or bikes"; "cars, people walking" is not. */
  isListed(words, comma) {
    while (words[comma] === ",") {
      const begin = comma + 1;
      if (words[begin] === "or" || words[begin] === "nor") return true;
      const end = this.endOfPhrase(words, begin);
      if (end === begin) return false;
      comma = end;
    }
    return words[comma] === "or" || words[comma] === "nor";
  }

  namesSomething(phrase) {
    if (!phrase.length || this.words.sayings.has(phrase[0])) return false;
    return phrase.some((word) => !this.words.stop_words.has(word) && !this.letters.isDigit(word));
  }

  isOnASign(phrase) {
    return this.words.forbidden.has(phrase[0]) || (phrase.length > 1 && this.words.signs.has(phrase.at(-1)));
  }

  /** A text without these spans, and without the marks and the "and" that they leave at its ends. */
  without(text, spans) {
    let [kept, place] = ["", 0];
    for (const [start, end] of spans) {
      kept += text.slice(place, start);
      place = end;
    }
    const rest = this.letters.split((kept + text.slice(place)).replace(this.empty, " ")).join(" ");
    return rest.replace(/ (?=[,;.])/g, "").replace(this.looseStart, "").replace(this.looseEnd, "");
  }
}
