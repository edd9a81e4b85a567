// The words that are spelled most like another one, as Python's difflib finds them.

import { isBefore } from "./letters.js";

/** The `count` of `words` that are most like `word`, best first, of those with a ratio of at least `cutoff`. */
export function closeMatches(word, words, count, cutoff) {
  const sought = [...word];
  const counted = countsOf(sought);
  const found = [];
  for (const candidate of words) {
    const letters = [...candidate];
    const ratio = (shared) => (letters.length + sought.length ? (2 * shared) / (letters.length + sought.length) : 1);
    if (ratio(Math.min(letters.length, sought.length)) < cutoff) continue;
    if (ratio(sharedLetters(letters, counted)) < cutoff) continue;
    const exact = ratio(sharedBlocks(letters, sought, 0, letters.length, 0, sought.length));
    if (exact >= cutoff) found.push([exact, candidate]);
  }
  found.sort(([a, first], [b, second]) => b - a || (first === second ? 0 : isBefore(first, second) ? 1 : -1));
  return found.slice(0, count).map(([, candidate]) => candidate);
}

function countsOf(letters) {
  const counts = new Map();
  for (const letter of letters) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  return counts;
}

function sharedLetters(letters, counted) {
  let shared = 0;
  for (const [letter, count] of countsOf(letters)) shared += Math.min(count, counted.get(letter) ?? 0);
  return shared;
}

/** How many letters lie in the longest block that both have, and in those on either side of it. */
function sharedBlocks(a, b, aStart, aEnd, bStart, bEnd) {
  let [size, aBest, bBest] = [0, aStart, bStart];
  let lengths = new Map(); // by the place in b: of the block that ends there, and one letter further back in a
  for (let i = aStart; i < aEnd; i++) {
    const next = new Map();
    for (let j = bStart; j < bEnd; j++) {
      if (a[i] !== b[j]) continue;
      const length = (lengths.get(j - 1) ?? 0) + 1;
      next.set(j, length);
      if (length > size) [size, aBest, bBest] = [length, i - length + 1, j - length + 1];
    }
    lengths = next;
  }
  if (!size) return 0;
  return (
    size +
    sharedBlocks(a, b, aStart, aBest, bStart, bBest) +
    sharedBlocks(a, b, aBest + size, aEnd, bBest + size, bEnd)
  );
}
