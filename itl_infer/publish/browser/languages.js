// Which language a query looks like that has no English word: by lists of common words, and by its letters.

const ANOTHER_SCRIPT = "another script";
const COMMON_SHARE = 0.5; // of the words that must be common in a language; the others may be names, or rare

export class Languages {
  /** `content` is languages.txt. */
  constructor(content, letters) {
    this.letters = letters;
    this.lists = new Map();
    for (const line of content.split("\n")) {
      const tab = line.indexOf("\t");
      if (tab >= 0) this.lists.set(line.slice(0, tab), new Set(line.slice(tab + 1).split(" ")));
    }
  }

  /** What to call the language of a text by its unknown words and its known ones; null where it may be English. */
  guess(unknown, known) {
    if (!known.length && unknown.some((word) => this.letters.foreign.test(this.letters.plain(word)))) {
      return ANOTHER_SCRIPT;
    }
    const [sought, others] = [this.plainWords(unknown), this.plainWords(known)];
    let [best, most] = [null, 0];
    for (const [language, words] of this.lists) {
      if (!others.every((word) => words.has(word))) continue;
      const common = sought.filter((word) => words.has(word)).length;
      if (common > most) [best, most] = [language, common];
    }
    return sought.length && most >= COMMON_SHARE * sought.length ? best : null;
  }

  plainWords(words) {
    const plain = new Set(words.map((word) => this.letters.plain(word)));
    return [...plain].filter((word) => this.letters.isAlpha(word));
  }
}

/** A message about a query that is not in English, with the language that it seems to be in. */
export function withLanguage(message, language) {
  const seems = language === ANOTHER_SCRIPT ? "is in" : "looks like";
  return `${message}; it reads English, and the query ${seems} ${language}`;
}
