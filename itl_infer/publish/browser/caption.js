// The caption branch: a sum of rows, dense layers, a unit vector.

export class CaptionBranch {
  /** `shape` is `caption` of text.json, `given` the bytes of text.bin: scales, layers, rows. */
  constructor(shape, given) {
    const { rows, width, layers } = shape;
    const bytes = given.byteOffset % 4 ? given.slice() : given; // where floats may begin
    this.width = width;
    let place = bytes.byteOffset;
    const floats = (count) => {
      const found = new Float32Array(bytes.buffer, place, count);
      place += 4 * count;
      return found;
    };
    this.scales = floats(rows);
    this.layers = layers.map(({ inputs, outputs, relu }) => {
      return { weights: floats(inputs * outputs), biases: floats(outputs), relu };
    });
    this.rows = new Int8Array(bytes.buffer, place, rows * width);
  }

  /** The unit embedding (D,) of a text, by its ids with their weights: [[id, weight], ...]. */
  embed(weighted) {
    const sum = new Float32Array(this.width);
    for (const [id, weight] of [...weighted].sort(([a], [b]) => a - b)) {
      const [scale, start] = [this.scales[id], id * this.width];
      const factor = Math.fround(weight);
      for (let i = 0; i < this.width; i++) sum[i] += Math.fround(Math.fround(this.rows[start + i] * scale) * factor);
    }
    return unit(this.layers.reduce(dense, sum));
  }
}

function dense(input, { weights, biases, relu }) {
  const output = new Float32Array(biases.length);
  const { length } = input;
  for (let row = 0, place = 0; row < output.length; row++) {
    let [even, odd, i] = [biases[row], 0, 0]; // two sums, which processors add side by side
    for (; i + 1 < length; i += 2, place += 2) {
      even += weights[place] * input[i];
      odd += weights[place + 1] * input[i + 1];
    }
    if (i < length) even += weights[place++] * input[i];
    const sum = even + odd;
    output[row] = relu && sum < 0 ? 0 : sum;
  }
  return output;
}

/** A vector at the length of 1. */
function unit(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return vector.map((value) => value / length);
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
