// What is known of each picture besides its vector: columns, as Python wrote them (publish/publish.py).

const SHOWN = /\.(jpe?g|jfif|png|gif|webp|avif|bmp)$/i; // formats that browsers show

export class Pictures {
  constructor(bytes) {
    Object.assign(this, JSON.parse(new TextDecoder().decode(bytes)));
  }

  /** The row of the picture with this id; undefined where there is none. */
  rowOf(id) {
    this.rows ??= new Map(this.ids.map((one, row) => [one, row]));
    return this.rows.get(id);
  }

  /** What the page calls a picture: its folder and its name. */
  pathOf(row) {
    const folder = this.folders[this.folder[row]];
    return folder ? `${folder}/${this.names[row]}` : this.names[row];
  }

  describe(row) {
    const original = this.originals?.[row] ?? null;
    const taken = this.taken?.[row] ?? null;
    return { id: this.ids[row], path: this.pathOf(row), taken, original, isShown: SHOWN.test(original ?? "") };
  }
}
