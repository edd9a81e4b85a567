// Names that were taught: found in texts as itl_infer/teaching/naming.py does, and weighed beside the words of the rest.

const POSSESSIVE = ["'", "s"]; // the marks behind a name that go with it: "Rex's ball"

/** What names.json and names.bin hold: `names` as [key, name], and of each its direction; `letters` reads texts. */
export class Names {
  constructor({ names, dim }, given, letters) {
    const bytes = given.byteOffset % 4 ? given.slice() : given; // where floats may begin
    const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    this.covariance = floats.subarray(0, dim * dim); // of all rows
    this.named = new Map(
      names.map(([key, name], place) => {
        const vector = floats.subarray(dim * (dim + place), dim * (dim + place + 1));
        return [key, { key, name, vector }];
      }),
    );
    this.lengths = new Map(); // in words, the longest first, by the first word of a key
    for (const key of this.named.keys()) {
      const words = key.split(" ");
      const found = this.lengths.get(words[0]) ?? [];
      if (!found.includes(words.length)) found.push(words.length);
      this.lengths.set(words[0], found.sort((a, b) => b - a));
    }
    const { alnum, space } = letters.classes;
    this.token = new RegExp(`[${alnum}_]+|[^${alnum}_${space}]`, "gu");
    this.letters = letters;
  }

  /** The rest of a text, and the names in it, each once. Of names that begin at one word the longest counts. */
  split(text) {
    const characters = [...text];
    const tokens = this.tokens(characters);
    const found = new Map();
    let [kept, end, place] = ["", 0, 0];
    const part = (first, last) => characters.slice(first, last).join("");
    while (place < tokens.length) {
      const key = this.keyAt(tokens, place);
      if (key === null) {
        place++;
        continue;
      }
      found.set(key, this.named.get(key));
      kept += part(end, tokens[place].start);
      place += key.split(" ").length;
      const isPossessive = POSSESSIVE.every((one, i) => tokens[place + i]?.key === one);
      if (isPossessive && tokens[place].start === tokens[place - 1].end) place += 2;
      ({ end } = tokens[place - 1]);
    }
    if (!found.size) return { rest: text, taught: [] };
    const rest = this.letters.split(kept + part(end)).join(" ");
    return { rest: this.letters.split(this.letters.plain(rest)).length ? rest : "", taught: [...found.values()] };
  }

  /** Words and marks, {key, start, end}: in plain letters, and from where to where they stand among the characters. */
  tokens(characters) {
    const plain = characters.map((one) => this.letters.plainCharacter(one));
    const placeOf = plain.flatMap((one, place) => Array(one.length).fill(place));
    return Array.from(plain.join("").matchAll(this.token), ({ 0: key, index }) => {
      return { key, start: placeOf[index], end: placeOf[index + key.length - 1] + 1 };
    });
  }

  keyAt(tokens, place) {
    for (const length of this.lengths.get(tokens[place].key) ?? []) {
      const key = tokens.slice(place, place + length).map((token) => token.key).join(" ");
      if (this.named.has(key)) return key; // one that is cut off has fewer words than any of that length
    }
    return null;
  }

  /** The standard deviation that the products of all rows with a vector have. */
  spreadOf(vector) {
    let variance = 0;
    vector.forEach((value, i) => {
      let product = 0;
      for (let j = 0; j < vector.length; j++) product += this.covariance[i * vector.length + j] * vector[j];
      variance += value * product;
    });
    return Math.sqrt(Math.max(0, variance));
  }

  /**
   * What names count beside other vectors, so that their scores spread over all rows as those of these do; where there
   * are none, as among themselves. `weights` are those of the texts that the names stand in.
   */
  weigh(vectors, taught, weights) {
    const spreads = taught.map(({ vector }) => this.spreadOf(vector));
    const others = vectors.length ? vectors.map((vector) => this.spreadOf(vector)) : spreads;
    const common = others.reduce((sum, one) => sum + one, 0) / others.length;
    return spreads.map((spread, i) => weights[i] * (spread > 0 && common > 0 ? common / spread : 1));
  }
}
