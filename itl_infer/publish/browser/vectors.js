// The pictures' vectors: codes in a worker, and finer ones, fetched as needed, by which the best stand in exact order.

import { dot } from "./caption.js";

const EXACT = 24; // places whose order is by the finer codes

export class Vectors {
  /** `description` is vectors.json; every part of codes is fetched before this is done. */
  static async open(description, fetchBytes, worker) {
    const vectors = new Vectors(description, fetchBytes, new Asked(worker));
    const { rows, dim, rows_per_part: step } = description;
    await vectors.worker.ask({ ask: "open", rows, width: dim });
    const starts = Array.from({ length: Math.ceil(rows / step) }, (_, part) => part * step);
    await Promise.all(
      starts.map(async (start, part) => {
        const bytes = await fetchBytes(`vectors-${padded(part, 3)}.bin`);
        await vectors.worker.ask({ ask: "add", start, count: Math.min(step, rows - start), bytes });
      }),
    );
    return vectors;
  }

  constructor(description, fetchBytes, worker) {
    Object.assign(this, { description, fetchBytes, worker, fineParts: new Map() });
    this.length = description.rows;
  }

  /** The `count` best rows for a unit vector, best first: {found: [{row, score, vector}], fence?}. */
  async best(query, count, { mask = null, wantsFence = false } = {}) {
    if (!this.length || count < 1) return { found: [], fence: Infinity };
    const asked = { ask: "rank", query, count, exact: Math.min(EXACT, count), mask, wantsFence };
    const { rows, scores, codes, scales, margin, fence } = await this.worker.ask(asked);
    const near = rows.length ? scores[Math.min(EXACT, count, rows.length) - 1] - margin : 0;
    const found = await Promise.all(
      rows.map(async (row, i) => {
        const vector = this.decode(codes, scales, i);
        if (scores[i] < near) return { row, score: scores[i], vector };
        await this.refine(vector, row, scales[i]);
        return { row, score: Math.fround(dot(query, vector)), vector };
      }),
    );
    found.sort((a, b) => b.score - a.score || a.row - b.row);
    return { found: found.slice(0, count), fence };
  }

  /** The vector (D,) of one row. */
  async vectorOf(row) {
    const { codes, scales } = await this.worker.ask({ ask: "take", rows: [row] });
    const vector = this.decode(codes, scales, 0);
    await this.refine(vector, row, scales[0]);
    return vector;
  }

  decode(codes, scales, place) {
    const { dim } = this.description;
    return Float32Array.from(codes.subarray(place * dim, (place + 1) * dim), (code) => code * scales[place]);
  }

  /** Add what the codes of a row left out. Where that cannot be fetched, a row stays as good as its codes. */
  async refine(vector, row, scale) {
    const { dim, rows_per_fine_part: step, fine_steps: steps } = this.description;
    const fine = await this.finePart(Math.floor(row / step));
    const begin = (row % step) * dim;
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
}

/** A worker, or a desk in its place, that answers one message after another. */
class Asked {
  constructor(worker) {
    this.worker = worker;
    this.waiting = new Map();
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
    const id = (this.last = (this.last ?? 0) + 1);
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...message });
    });
  }
}

const padded = (number, digits) => String(number).padStart(digits, "0");
