// The best rows for a query, from 8-bit codes: pure functions, for the worker and for tests.

const QUERY_LIMIT = 2 ** 31 - 1; // sums of products stay below it
const DEVIATIONS = 8; // of a score by codes, within which two rows may stand the other way round

/** Rows as codes with a scale each, in the parts in which they were fetched; `width` is a multiple of 8. */
export class CodedRows {
  /** `rows` are all of the index, of which only some may be added here. */
  constructor(rows, width) {
    Object.assign(this, { rows, width, parts: [], largestScale: 0 });
  }

  /** Rows from `start` on: `count` scales (float32), then as many rows of codes (int8). */
  add(start, count, given) {
    const bytes = given.byteOffset % 4 ? given.slice() : given;
    const scales = new Float32Array(bytes.buffer, bytes.byteOffset, count);
    const codes = new Int8Array(bytes.buffer, bytes.byteOffset + 4 * count, count * this.width);
    this.parts.push({ start, scales, codes });
    for (const scale of scales) if (scale > this.largestScale) this.largestScale = scale;
  }

  /** How far apart two scores may lie whose rows may really stand the other way round. */
  get margin() {
    return (DEVIATIONS * this.largestScale) / Math.sqrt(12);
  }

  /** The cosine of each row with a unit vector, within the error of the codes; below all of a row that is not here. */
  scores(query) {
    const scores = new Float32Array(this.rows).fill(-Infinity);
    const most = Math.min(32767, Math.floor(QUERY_LIMIT / (127 * this.width)));
    const step = query.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) / most;
    const whole = new Int32Array(this.width);
    query.forEach((value, i) => (whole[i] = Math.round(value / step)));
    for (const { start, scales, codes } of this.parts) {
      multiply(whole, new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4), scores.subarray(start));
      for (let row = 0; row < scales.length; row++) scores[start + row] *= scales[row] * step;
    }
    return scores;
  }

  /** [codes (int8, one row after another), scales] of some rows. */
  take(rows) {
    const codes = new Int8Array(rows.length * this.width);
    const scales = new Float32Array(rows.length);
    rows.forEach((row, i) => {
      const part = this.parts.find(({ start, scales: of }) => row >= start && row < start + of.length);
      const begin = (row - part.start) * this.width;
      codes.set(part.codes.subarray(begin, begin + this.width), i * this.width);
      scales[i] = part.scales[row - part.start];
    });
    return [codes, scales];
  }
}

/**
 * The product of a query with each row into `products`. Four codes are read at once, as the bytes of one number, and two
 * sums are made side by side: twice as fast as code by code.
 */
function multiply(query, fours, products) {
  const width = query.length;
  for (let row = 0, place = 0; place < fours.length; row++) {
    let [even, odd] = [0, 0];
    for (let i = 0; i < width; i += 8, place += 2) {
      const [four, next] = [fours[place], fours[place + 1]];
      even =
        (even +
          Math.imul(query[i], (four << 24) >> 24) +
          Math.imul(query[i + 1], (four << 16) >> 24) +
          Math.imul(query[i + 2], (four << 8) >> 24) +
          Math.imul(query[i + 3], four >> 24)) |
        0;
      odd =
        (odd +
          Math.imul(query[i + 4], (next << 24) >> 24) +
          Math.imul(query[i + 5], (next << 16) >> 24) +
          Math.imul(query[i + 6], (next << 8) >> 24) +
          Math.imul(query[i + 7], next >> 24)) |
        0;
    }
    products[row] = even + odd;
  }
}

/**
 * The `count` best rows, and those that come within `margin` of the one at place `exact`: the higher score first, of
 * equal ones the lower row. Only rows with a 1 in `mask` where there is one.
 */
export function bestRows(scores, count, { mask = null, exact = 0, margin = 0 } = {}) {
  const heap = new LowestFirst(count);
  for (let row = 0; row < scores.length; row++) {
    if (scores[row] > heap.lowest && (!mask || mask[row])) heap.offer(scores[row]);
  }
  const ordered = heap.values.slice(0, heap.size).sort().reverse();
  if (!ordered.length) return [];
  const near = exact ? ordered[Math.min(exact, ordered.length) - 1] - margin : Infinity;
  const line = Math.min(ordered.at(-1), near);
  const found = [];
  for (let row = 0; row < scores.length; row++) if (scores[row] >= line && (!mask || mask[row])) found.push(row);
  found.sort((a, b) => scores[b] - scores[a] || a - b);
  // Rows of one score that have no place any more: of an index of copies these may be all.
  while (found.length > count && scores[found.at(-1)] < near) found.pop();
  return found;
}

/** The `size` highest numbers that were offered, as a heap whose first one is the lowest. */
class LowestFirst {
  constructor(most) {
    this.values = new Float32Array(Math.max(1, most));
    this.size = 0;
    this.lowest = -Infinity; // what the next one must exceed
  }

  offer(value) {
    const { values } = this;
    let place = 0;
    if (this.size < values.length) {
      place = this.size++;
      for (let above; place && values[(above = (place - 1) >> 1)] > value; place = above) values[place] = values[above];
    } else {
      for (let below; (below = 2 * place + 1) < values.length; place = below) {
        if (below + 1 < values.length && values[below + 1] < values[below]) below++;
        if (values[below] >= value) break;
        values[place] = values[below];
      }
    }
    values[place] = value;
    if (this.size === values.length) [this.lowest] = values;
  }
}

/** From where on scores (a Float32Array, which is sorted by this) are outliers among all, by Tukey's inner fence. */
export function fenceOf(scores) {
  const sorted = scores.sort();
  const at = (share) => {
    const place = share * (sorted.length - 1);
    const low = sorted[Math.floor(place)];
    return low + (sorted[Math.ceil(place)] - low) * (place % 1);
  };
  const [first, third] = [at(0.25), at(0.75)];
  return third + 1.5 * (third - first);
}

/** Answers the messages of `vectors.js`: in a worker, or in a page that can start none. */
export class RankingDesk {
  answer(message) {
    return this[message.ask](message);
  }

  open({ rows, width }) {
    this.coded = new CodedRows(rows, width);
    return {};
  }

  add({ start, count, bytes }) {
    this.coded.add(start, count, bytes);
    return {};
  }

  rank({ query, count, exact, mask, wantsAll }) {
    const scores = this.coded.scores(query);
    const { margin } = this.coded;
    const rows = bestRows(scores, count, { mask, exact, margin });
    const [codes, scales] = this.coded.take(rows);
    const all = wantsAll ? scores.filter((score) => score > -Infinity) : null;
    return { rows, scores: Float32Array.from(rows, (row) => scores[row]), codes, scales, margin, all };
  }

  take({ rows }) {
    const [codes, scales] = this.coded.take(rows);
    return { codes, scales };
  }
}
