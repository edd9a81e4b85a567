// NLTK's Snowball stemmer of English, to the letter: it differs from other Snowballs on some words.

const STEM_VOWELS = new Set("aeiouy");
const NO_SHORT_END = new Set("wxY"); // what may not end a short syllable
const DOUBLED = ["bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt"];
const BEFORE_LI = new Set("cdeghkmnrt");
const SPECIAL = new Map(
  Object.entries({
    skis: "ski", skies: "sky", dying: "die", lying: "lie", tying: "tie", idly: "idl", gently: "gentl", ugly: "ugli",
    early: "earli", only: "onli", singly: "singl", sky: "sky", news: "news", howe: "howe", atlas: "atlas",
    cosmos: "cosmos", bias: "bias", andes: "andes", inning: "inning", innings: "inning", outing: "outing",
    outings: "outing", canning: "canning", cannings: "canning", herring: "herring", herrings: "herring",
    earring: "earring", earrings: "earring", proceed: "proceed", proceeds: "proceed", proceeded: "proceed",
    proceeding: "proceed", exceed: "exceed", exceeds: "exceed", exceeded: "exceed", exceeding: "exceed",
    succeed: "succeed", succeeds: "succeed", succeeded: "succeed", succeeding: "succeed",
  }),
);

// What replaces a suffix in each step, the longest suffix first; a number cuts so many letters.
const STEP_2 = [
  ["ization", "ize"], ["ational", "ate"], ["fulness", 4], ["ousness", "ous"], ["iveness", "ive"], ["tional", 2],
  ["biliti", "ble"], ["lessli", 2], ["entli", 2], ["ation", "ate"], ["alism", "al"], ["aliti", "al"],
  ["ousli", "ous"], ["iviti", "ive"], ["fulli", 2], ["enci", "ence"], ["anci", "ance"], ["abli", "able"],
  ["izer", "ize"], ["ator", "ate"], ["alli", "al"], ["bli", "ble"], ["ogi", 1], ["li", 2],
];
const STEP_3 = [
  ["ational", "ate"], ["tional", 2], ["alize", 3], ["icate", "ic"], ["iciti", "ic"], ["ative", 5], ["ical", "ic"],
  ["ness", 4], ["ful", 3],
];
const STEP_4 = [
  "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion",
  "al", "er", "ic",
];

const isStemVowel = (letter) => STEM_VOWELS.has(letter);
const cutEnd = (text, letters) => text.slice(0, Math.max(0, text.length - letters));

/** The stem of a word in lower case. */
export function stemWord(word) {
  // Python counts code points: what has two units here stands as one while the letters are counted.
  const wide = word.match(/[\u{10000}-\u{10ffff}\uffff]/gu);
  if (!wide) return stemUnits(word);
  let next = 0;
  return stemUnits(word.replace(/[\u{10000}-\u{10ffff}]/gu, "\uffff")).replaceAll("\uffff", () => wide[next++]);
}

function stemUnits(given) {
  if (given.length <= 2) return given;
  if (SPECIAL.has(given)) return SPECIAL.get(given);
  let text = given.replace(/[\u2019\u2018\u201b]/g, "'");
  if (text.startsWith("'")) text = text.slice(1);
  const letters = [...text];
  if (letters[0] === "y") letters[0] = "Y";
  for (let i = 1; i < letters.length; i++) if (letters[i] === "y" && isStemVowel(letters[i - 1])) letters[i] = "Y";
  const word = new StemRegions(letters.join(""));
  stripPossessive(word);
  stripPlural(word);
  stripPast(word);
  turnY(word);
  stripLong(word);
  stripEnd(word);
  return word.text.replaceAll("Y", "y");
}

/** A word with its regions R1 and R2, which are cut as it is. */
class StemRegions {
  constructor(text) {
    this.text = text;
    const start = /^(?:gener|arsen|commun)/.exec(text);
    this.r1 = start ? text.slice(start[0].length) : StemRegions.after(text);
    this.r2 = StemRegions.after(this.r1);
  }

  /** What follows the first consonant behind a vowel. */
  static after(text) {
    for (let i = 1; i < text.length; i++) {
      if (!isStemVowel(text[i]) && isStemVowel(text[i - 1])) return text.slice(i + 1);
    }
    return "";
  }

  at(place) {
    return this.text.at(place);
  }

  endsWith(suffix) {
    return this.text.endsWith(suffix);
  }

  cut(letters) {
    this.text = cutEnd(this.text, letters);
    this.r1 = cutEnd(this.r1, letters);
    this.r2 = cutEnd(this.r2, letters);
  }

  /** Another suffix; a region that does not hold the whole old one becomes `emptied`, which for R2 may be a letter. */
  replace(suffix, other, emptied = "") {
    const length = suffix.length;
    this.text = cutEnd(this.text, length) + other;
    this.r1 = this.r1.length >= length ? cutEnd(this.r1, length) + other : "";
    this.r2 = this.r2.length >= length ? cutEnd(this.r2, length) + other : emptied;
  }

  /** Another last letter. */
  replaceLast(letter) {
    this.text = cutEnd(this.text, 1) + letter;
    this.r1 = this.r1 && cutEnd(this.r1, 1) + letter;
    this.r2 = this.r2 && cutEnd(this.r2, 1) + letter;
  }
}

const hasStemVowel = (text) => [...text].some(isStemVowel);

function stripPossessive(word) {
  const suffix = ["'s'", "'s", "'"].find((end) => word.endsWith(end));
  if (suffix) word.cut(suffix.length);
}

function stripPlural(word) {
  const suffix = ["sses", "ied", "ies", "us", "ss", "s"].find((end) => word.endsWith(end));
  if (suffix === "sses") word.cut(2);
  else if (suffix === "ied" || suffix === "ies") word.cut(word.text.length > 4 ? 2 : 1);
  else if (suffix === "s" && hasStemVowel(cutEnd(word.text, 2))) word.cut(1);
}

function stripPast(word) {
  const suffix = ["eedly", "ingly", "edly", "eed", "ing", "ed"].find((end) => word.endsWith(end));
  if (!suffix) return;
  if (suffix.startsWith("eed")) {
    if (word.r1.endsWith(suffix)) word.replace(suffix, "ee");
    return;
  }
  if (!hasStemVowel(cutEnd(word.text, suffix.length))) return;
  word.cut(suffix.length);
  if (["at", "bl", "iz"].some((end) => word.endsWith(end))) {
    word.text += "e";
    word.r1 += "e";
    if (word.text.length > 5 || word.r1.length >= 3) word.r2 += "e";
  } else if (DOUBLED.some((end) => word.endsWith(end))) {
    word.cut(1);
  } else if (word.r1 === "" && endsShort(word)) {
    word.text += "e";
    if (word.r2) word.r2 += "e";
  }
}

function endsShort(word) {
  const length = word.text.length;
  if (length === 2) return isStemVowel(word.at(0)) && !isStemVowel(word.at(1));
  return (
    length >= 3 &&
    !isStemVowel(word.at(-1)) &&
    !NO_SHORT_END.has(word.at(-1)) &&
    isStemVowel(word.at(-2)) &&
    !isStemVowel(word.at(-3))
  );
}

function turnY(word) {
  if (word.text.length > 2 && /[yY]$/.test(word.text) && !isStemVowel(word.at(-2))) word.replaceLast("i");
}

function stripLong(word) {
  const second = STEP_2.find(([suffix]) => word.endsWith(suffix));
  if (second && word.r1.endsWith(second[0])) stripSecond(word, ...second);
  const third = STEP_3.find(([suffix]) => word.endsWith(suffix));
  if (third && word.r1.endsWith(third[0])) {
    const [suffix, other] = third;
    if (typeof other === "string") word.replace(suffix, other);
    else if (suffix !== "ative" || word.r2.endsWith(suffix)) word.cut(other);
  }
  const fourth = STEP_4.find((suffix) => word.endsWith(suffix));
  if (fourth && word.r2.endsWith(fourth)) {
    if (fourth !== "ion" || "st".includes(word.at(-4))) word.cut(fourth.length);
  }
}

function stripSecond(word, suffix, other) {
  if (suffix === "ogi" && word.at(-4) !== "l") return;
  if (suffix === "li" && !BEFORE_LI.has(word.at(-3))) return;
  if (typeof other === "number") word.cut(other);
  else if (["enci", "anci", "abli"].includes(suffix)) word.replaceLast("e");
  else word.replace(suffix, other, ["ational", "ation", "ator", "iveness", "iviti"].includes(suffix) ? "e" : "");
}

function stripEnd(word) {
  const { text } = word;
  if (word.r2.endsWith("l") && text.at(-2) === "l") word.text = cutEnd(text, 1);
  else if (word.r2.endsWith("e")) word.text = cutEnd(text, 1);
  else if (
    word.r1.endsWith("e") &&
    text.length >= 4 &&
    (isStemVowel(text.at(-2)) || NO_SHORT_END.has(text.at(-2)) || !isStemVowel(text.at(-3)) || isStemVowel(text.at(-4)))
  ) {
    word.text = cutEnd(text, 1);
  }
}
