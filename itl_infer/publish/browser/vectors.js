// The pictures' vectors: codes in workers, and finer ones, fetched as needed, by which the best stand in exact order.

import { dot } from "./caption.js";
import { fenceOf, RankingDesk } from "./ranking.js";

const EXACT = 24; // places whose order is by the finer codes
const MOST_WORKERS = 4;
const LANES = 4; // files that are fetched at a time before anyone needs them

export class Vectors {
  /**
   * `description` is vectors.json; every part of the codes is fetched before this is done. With `eager` the finer codes
   * are fetched behind the first answer, so that later ones wait for none.
   */
  static async open(description, fetchBytes, createWorker, eager) {
    const { rows, width, rows_per_part: step } = description;
    const starts = Array.from({ length: Math.ceil(rows / step) }, (_, part) => part * step);
    const cores = globalThis.navigator?.hardwareConcurrency ?? 2;
    const count = Math.max(1, Math.min(starts.length, cores, MOST_WORKERS));
    const opening = { ask: "open", rows, width };
    const workers = await Promise.all(Array.from({ length: count }, () => started(createWorker, opening)));
    const vectors = new Vectors(description, fetchBytes, workers, eager);
    await Promise.all(
      starts.map(async (start, part) => {
        const bytes = await fetchBytes(`vectors-${padded(part, 3)}.bin`);
        await vectors.workerOf(start).ask({ ask: "add", start, count: Math.min(step, rows - start), bytes });
      }),
    );
    return vectors;
  }

  constructor(description, fetchBytes, workers, eager) {
    Object.assign(this, { description, fetchBytes, workers, eager, fineParts: new Map() });
    this.length = description.rows;
  }

  workerOf(row) {
    return this.workers[Math.floor(row / this.description.rows_per_part) % this.workers.length];
  }

  /** The `count` best rows for a unit vector, best first: {found: [{row, score, vector}], fence?}. */
  async best(query, count, { mask = null, wantsFence = false } = {}) {
    if (!this.length || count < 1) return { found: [], fence: Infinity };
    const exact = Math.min(EXACT, count);
    const asked = { ask: "rank", query, count, exact, mask, wantsAll: wantsFence };
    const answers = await Promise.all(this.workers.map((worker) => worker.ask(asked)));
    const found = answers.flatMap((answer) =>
      answer.rows.map((row, i) => ({ row, score: answer.scores[i], coded: [answer.codes, answer.scales[i], i] })),
    );
    found.sort(byScore);
    const margin = Math.max(...answers.map((answer) => answer.margin));
    const near = found.length ? found[Math.min(exact, found.length) - 1].score - margin : 0;
    await Promise.all(
      found
        .filter(({ score }) => score >= near)
        .map(async (one) => {
          one.vector = this.decode(...one.coded);
          await this.refine(one.vector, one.row, one.coded[1]);
          one.score = Math.fround(dot(query, one.vector));
        }),
    );
    const best = found.sort(byScore).slice(0, count);
    for (const one of best) one.vector ??= this.decode(...one.coded);
    if (this.eager) this.fetchAhead();
    return { found: best, fence: wantsFence ? fenceOf(joined(answers.map(({ all }) => all))) : null };
  }

  /** The vector (D,) of one row. */
  async vectorOf(row) {
    const { codes, scales } = await this.workerOf(row).ask({ ask: "take", rows: [row] });
    const vector = this.decode(codes, scales[0], 0);
    await this.refine(vector, row, scales[0]);
    return vector;
  }

  decode(codes, scale, place) {
    const { dim, width } = this.description;
    const vector = new Float32Array(dim);
    for (let i = 0; i < dim; i++) vector[i] = codes[place * width + i] * scale;
    return vector;
  }

  /** Add what the codes of a row left out. Where that cannot be fetched, a row stays as good as its codes. */
  async refine(vector, row, scale) {
    const { dim, width, rows_per_fine_part: step, fine_steps: steps } = this.description;
    const fine = await this.finePart(Math.floor(row / step));
    const begin = (row % step) * width;
    if (fine) for (let i = 0; i < dim; i++) vector[i] += (fine[begin + i] * scale) / steps;
  }

  async finePart(part) {
    if (!this.fineParts.has(part)) {
      const fetched = this.fetchBytes(`fine-${padded(part, 5)}.bin`);
      this.fineParts.set(part, Promise.resolve(fetched).then((bytes) => new Int8Array(bytes)));
    }
    try {
      return await this.fineParts.get(part);
    } catch {
      this.fineParts.delete(part); // to be tried again by the next query
      return null;
    }
  }

  /** Fetch all finer codes that are not there yet, a few at a time; given up at the first that cannot be fetched. */
  fetchAhead() {
    const parts = Math.ceil(this.length / this.description.rows_per_fine_part);
    let next = 0;
    const lane = async () => {
      while (next < parts) if (!(await this.finePart(next++))) next = parts;
    };
    this.ahead ??= Promise.all(Array.from({ length: LANES }, lane));
    return this.ahead;
  }
}

/** A worker that answers one message after another. */
class Asked {
  constructor(worker) {
    this.worker = worker;
    this.waiting = new Map();
    this.asked = 0;
    worker.addEventListener("message", ({ data: { id, answer, error } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(new Error(error));
      else resolve(answer);
    });
    worker.addEventListener("error", (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "the worker failed"));
      this.waiting.clear();
    });
  }

  ask(message) {
    const id = ++this.asked;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...message });
    });
  }
}

/** A worker that has been opened; where none can be started, what does the same in the page. */
async function started(createWorker, opening) {
  try {
    const worker = new Asked(createWorker());
    await worker.ask(opening);
    return worker;
  } catch {
    const desk = new RankingDesk();
    desk.answer(opening);
    return { ask: async (message) => desk.answer(message) };
  }
}

const byScore = (a, b) => b.score - a.score || a.row - b.row;

const padded = (number, digits) => String(number).padStart(digits, "0");

function joined(arrays) {
  const all = new Float32Array(arrays.reduce((length, array) => length + array.length, 0));
  let place = 0;
  for (const array of arrays) {
    all.set(array, place);
    place += array.length;
  }
  return all;
}
