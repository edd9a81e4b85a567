// The table of carried words: words that no caption had, each with the known stems that it is read as.

export class CarriedWords {
  /** `content` is carried.tsv; `processor` knows the vocabulary. */
  constructor(content, processor) {
    this.processor = processor;
    this.lines = new Map(); // of a stem: what stands behind it
    for (const line of content.split("\n")) {
      const tab = line.indexOf("\t");
      if (tab > 0 && !line.startsWith("#")) this.lines.set(line.slice(0, tab), line.slice(tab + 1));
    }
  }

  /** What a word of this stem is read as; null where the table has none. */
  find(stem) {
    const rest = this.lines.get(stem);
    if (rest === undefined) return null;
    const { ids, noun } = { ids: this.processor.ids, noun: (one) => this.processor.noun(this.processor.ids.get(one)) };
    const [ending, ...meanings] = rest.split("\t");
    const understood = meanings.map((meaning) => {
      const space = meaning.lastIndexOf(" ");
      return [meaning.slice(0, space).split("+"), Number(meaning.slice(space + 1))];
    });
    const stems = understood.flatMap(([together, weight]) => together.map((known) => [known, weight]));
    const weights = new Map();
    for (const [known, weight] of stems) weights.set(ids.get(known), (weights.get(ids.get(known)) ?? 0) + weight);
    return {
      word: carriedWord(stem, ending),
      stem,
      readAs: understood.map(([together]) => together.map(noun).join(" ")),
      stems,
      weights,
    };
  }

  /** The first `count` of the words that begin so, in the order of the table. */
  startingWith(letters, count) {
    const found = [];
    for (const [stem, rest] of this.lines) {
      const word = carriedWord(stem, rest.split("\t", 1)[0]);
      if (word.startsWith(letters) && found.push(word) === count) break;
    }
    return found;
  }
}

/** The word of a stem, by the second column: "e" is added to it, "=ibis" is another one. */
const carriedWord = (stem, ending) => (ending.startsWith("=") ? ending.slice(1) : stem + ending);
