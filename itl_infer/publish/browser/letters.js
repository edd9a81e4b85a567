// What Python makes of letters, by tables that it wrote: browsers know other versions of Unicode.

/** Classes of characters as Python has them, and its plain letters and lower case. */
export class Letters {
  /** `tables` is what `letters.py` writes: ranges of each class, and two mappings. */
  constructor(tables) {
    this.classes = Object.fromEntries(
      Object.entries(tables.classes).map(([name, ranges]) => [name, classOfRanges(ranges)]),
    );
    this.plainOf = mappingOf(tables.plain);
    this.lowerOf = mappingOf(tables.lower);
    const all = (name) => new RegExp(`^[${this.classes[name]}]+$`, "u");
    [this.isAlnum, this.isAlpha, this.isDigit, this.isSymbol, this.isSpace] = [
      "alnum", "alpha", "digit", "symbol", "space",
    ].map((name) => {
      const pattern = all(name);
      return (text) => pattern.test(text);
    });
    this.foreign = new RegExp(`[${this.classes.foreign}]`, "u");
    this.spaces = new RegExp(`[${this.classes.space}]+`, "gu");
  }

  /** One character as an English keyboard has it. */
  plainCharacter(character) {
    const known = this.plainOf.get(character);
    if (known !== undefined) return known;
    return character >= "\uac00" && character <= "\ud7a3" ? character.normalize("NFKD") : character; // Hangul
  }

  /** A text as an English keyboard has it: no case, accents, width or curls. */
  plain(text) {
    return Array.from(text, (one) => this.plainCharacter(one)).join("");
  }

  /** In lower case. A capital sigma depends on what stands around it. */
  lower(text) {
    if (isAscii(text) || text.includes("\u03a3")) return text.toLowerCase();
    return Array.from(text, (one) => this.lowerOf.get(one) ?? one).join("");
  }

  /** The parts between white space. */
  split(text) {
    return text.split(this.spaces).filter(Boolean);
  }
}

export const isAscii = (text) => !/[^\0-\x7f]/.test(text);

/** The first `count` characters, of which Python knows no halves. */
export const firstCharacters = (text, count) => (text.length <= count ? text : [...text].slice(0, count).join(""));

export const countCharacters = (text) => (isAscii(text) ? text.length : [...text].length);

/** Whether one text stands before another one in Python's order, which is that of code points. */
export function isBefore(text, other) {
  const [a, b] = [[...text], [...other]];
  const place = a.findIndex((one, i) => one !== b[i]);
  return place < 0 ? a.length < b.length : place < b.length && a[place].codePointAt(0) < b[place].codePointAt(0);
}

/** The inside of [] in a regular expression, of ranges as the steps between their ends. */
function classOfRanges(steps) {
  const escaped = (code) => `\\u{${code.toString(16)}}`;
  let inside = "";
  let code = 0;
  for (let i = 0; i < steps.length; i += 2) {
    const first = code + steps[i];
    code = first + steps[i + 1];
    inside += first === code - 1 ? escaped(first) : `${escaped(first)}-${escaped(code - 1)}`;
  }
  return inside;
}

function mappingOf({ from, to }) {
  const targets = to.split("\n");
  return new Map(Array.from(from, (character, place) => [character, targets[place]]));
}
