// Pictures as input: a pad to draw on, with a pointer or with keys, and files, scaled to the size of the input.

/** The size of the pad on the page, in CSS pixels. */
const PAD = 224;
const RANGES = { "0 to 1": [0, 1], "0 to 255": [0, 255], "−1 to 1": [-1, 1] };

/** A pad of `height` × `width` cells, with a hidden canvas of several pixels a cell. */
class Pad {
  constructor(height, width, changed) {
    Object.assign(this, { height, width, changed });
    this.scale = Math.max(1, Math.floor(PAD / Math.max(height, width)));
    this.ink = element("canvas", { width: width * this.scale, height: height * this.scale }).getContext("2d", { willReadFrequently: true });
    this.cursor = { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    this.said = element("span", { className: "hidden", role: "status" });
    this.canvas = element("canvas", {
      className: "pad",
      width: this.ink.canvas.width,
      height: this.ink.canvas.height,
      tabIndex: 0,
      role: "application",
      "aria-label": `Drawing of ${height} by ${width} cells. Arrow keys move, the space bar draws and erases, Shift with an arrow draws a line, Delete clears.`,
    });
    this.view = this.canvas.getContext("2d");
    this.listen();
    this.clear();
  }

  listen() {
    const { canvas } = this;
    let last = null;
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      last = point(event);
      this.stroke(last, last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (last === null) return;
      for (const one of event.getCoalescedEvents?.() ?? [event]) {
        const next = point(one);
        this.stroke(last, next);
        last = next;
      }
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
    canvas.addEventListener("keydown", (event) => this.press(event));
    for (const one of ["focus", "blur"]) canvas.addEventListener(one, () => this.show());
  }

  press(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) {
      if (event.shiftKey) this.fillCell(true);
      this.cursor.x = Math.min(Math.max(this.cursor.x + step[0], 0), this.width - 1);
      this.cursor.y = Math.min(Math.max(this.cursor.y + step[1], 0), this.height - 1);
      if (event.shiftKey) this.fillCell(true);
    } else if (event.key === " ") {
      this.fillCell(!this.isInked());
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.show();
    this.said.textContent = `Row ${this.cursor.y + 1}, column ${this.cursor.x + 1}, ${this.isInked() ? "drawn" : "empty"}`;
  }

  isInked() {
    const { scale, cursor } = this;
    const middle = (cell) => cell * scale + (scale >> 1);
    return this.ink.getImageData(middle(cursor.x), middle(cursor.y), 1, 1).data[0] > 127;
  }

  fillCell(isInked) {
    const { scale, cursor } = this;
    this.ink.fillStyle = isInked ? "#fff" : "#000";
    this.ink.fillRect(cursor.x * scale, cursor.y * scale, scale, scale);
    this.show();
    this.changed();
  }

  stroke(from, to) {
    const { ink } = this;
    ink.strokeStyle = "#fff";
    ink.lineCap = "round";
    ink.lineWidth = this.scale * Math.max(1.2, Math.max(this.height, this.width) / 14);
    ink.beginPath();
    ink.moveTo(...from);
    ink.lineTo(...to);
    ink.stroke();
    this.show();
    this.changed();
  }

  clear() {
    this.ink.fillStyle = "#000";
    this.ink.fillRect(0, 0, this.ink.canvas.width, this.ink.canvas.height);
    this.show();
    this.changed();
  }

  /** Fills the pad with the middle of an image, in the pad's proportions. */
  async load(file) {
    const image = await createImageBitmap(file);
    const { width, height } = this.ink.canvas;
    const factor = Math.min(image.width / width, image.height / height);
    const [w, h] = [width * factor, height * factor];
    this.ink.fillStyle = "#000";
    this.ink.fillRect(0, 0, width, height);
    this.ink.imageSmoothingQuality = "high";
    this.ink.drawImage(image, (image.width - w) / 2, (image.height - h) / 2, w, h, 0, 0, width, height);
    image.close();
    this.show();
    this.changed();
  }

  show() {
    this.view.drawImage(this.ink.canvas, 0, 0);
    if (document.activeElement !== this.canvas || !this.canvas.matches(":focus-visible")) return;
    const { scale, cursor } = this;
    this.view.strokeStyle = "#4da3ff";
    this.view.lineWidth = 2;
    this.view.strokeRect(cursor.x * scale + 1, cursor.y * scale + 1, Math.max(scale - 2, 3), Math.max(scale - 2, 3));
  }

  /** Red, green, blue and alpha of each cell, from 0 to 255: the means of its pixels. */
  cells() {
    const { scale, width, height } = this;
    const { data } = this.ink.getImageData(0, 0, width * scale, height * scale);
    const cells = new Float64Array(height * width * 4);
    for (let y = 0; y < height * scale; y += 1) {
      for (let x = 0; x < width * scale; x += 1) {
        const from = 4 * (y * width * scale + x);
        const to = 4 * (Math.floor(y / scale) * width + Math.floor(x / scale));
        for (let part = 0; part < 4; part += 1) cells[to + part] += data[from + part];
      }
    }
    return cells.map((sum) => sum / (scale * scale));
  }
}

/** The field of a picture: the pad, a file, and how pixels become values. */
class PictureField {
  constructor(tensor, shape, changed) {
    Object.assign(this, { tensor, shape, changed });
    this.element = element("div", { className: "rows" });
    this.size = { height: shape.height, width: shape.width };
    this.range = isFloat(tensor.dtype) ? "0 to 1" : "0 to 255";
    this.isInverted = false;
    this.problem = element("p", { className: "problem", role: "alert" });
    this.build();
  }

  build() {
    const { height, width } = this.size;
    this.pad = new Pad(height, width, () => this.refresh());
    this.seen = element("canvas", { className: "seen", width, height, role: "img", "aria-label": "What the model gets" });
    const factor = 88 / Math.max(height, width);
    this.seen.style.width = `${Math.round(width * factor)}px`;
    this.seen.style.height = `${Math.round(height * factor)}px`;
    const clear = element("button", { type: "button", className: "small" }, "Clear");
    clear.addEventListener("click", () => this.pad.clear());
    const file = element("input", { type: "file", accept: "image/*" });
    file.addEventListener("change", () => this.load(file.files[0]));
    const range = element("select", {}, ...Object.keys(RANGES).map((text) => element("option", { selected: text === this.range }, text)));
    range.addEventListener("change", () => ((this.range = range.value), this.changed()));
    const invert = element("input", { type: "checkbox", checked: this.isInverted });
    invert.addEventListener("change", () => ((this.isInverted = invert.checked), this.refresh()));
    const labelled = (text, field) => element("label", { className: "field" }, text, field);
    const side = element(
      "div",
      { className: "side" },
      element("figure", {}, this.seen, element("figcaption", {}, "What the model gets")),
      labelled("Black to white", range),
      element("label", {}, invert, " Invert"),
      clear,
    );
    const pad = element("figure", {}, this.pad.canvas, this.pad.said, element("figcaption", {}, "Draw here, or load an image"));
    this.element.replaceChildren(
      element("div", { className: "drawing" }, pad, side),
      ...(this.shape.isOpen ? [this.sizeLine()] : []),
      labelled("An image, scaled and cut to the middle", file),
      this.problem,
    );
    this.refresh();
  }

  /** The sizes, where the signature leaves them open. */
  sizeLine() {
    const field = (key, text) => {
      const input = element("input", { type: "number", min: 1, max: 2048, value: this.size[key] });
      input.addEventListener("change", () => {
        if (!input.checkValidity() || input.value === "") return;
        this.size[key] = Number(input.value);
        this.build();
      });
      return element("label", {}, `${text} `, input);
    };
    return element("div", { className: "line" }, field("height", "Height"), field("width", "Width"));
  }

  async load(file) {
    this.problem.textContent = "";
    if (!file) return;
    try {
      await this.pad.load(file);
    } catch {
      this.problem.textContent = `${shown(file.name)} is not an image that this browser can read.`;
    }
  }

  /** Shows what the model gets, at most once a frame. */
  refresh() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.showSeen();
    });
  }

  showSeen() {
    const pixels = this.pixels();
    const view = this.seen.getContext("2d");
    const image = view.createImageData(this.size.width, this.size.height);
    const { channels } = this.shape;
    for (let index = 0; index < this.size.width * this.size.height; index += 1) {
      for (let part = 0; part < 3; part += 1) image.data[4 * index + part] = pixels[index * channels + (channels === 1 ? 0 : part)];
      image.data[4 * index + 3] = 255;
    }
    view.putImageData(image, 0, 0);
    this.changed();
  }

  /** The bytes of the pixels, channels last. */
  pixels() {
    const cells = this.pad.cells();
    const { channels } = this.shape;
    const turned = (byte) => (this.isInverted ? 255 - byte : byte);
    const pixels = [];
    for (let at = 0; at < cells.length; at += 4) {
      const [red, green, blue] = [cells[at], cells[at + 1], cells[at + 2]].map(turned);
      if (channels === 1) pixels.push(0.299 * red + 0.587 * green + 0.114 * blue);
      else pixels.push(red, green, blue, ...(channels === 4 ? [cells[at + 3]] : []));
    }
    return pixels;
  }

  text() {
    const { channels, channelsFirst } = this.shape;
    const { height, width } = this.size;
    const pixels = this.pixels();
    const [low, high] = RANGES[this.range];
    const shownPixel = (byte) => {
      const value = low + ((high - low) * byte) / 255;
      return String(isFloat(this.tensor.dtype) ? Number(value.toFixed(4)) : Math.round(value));
    };
    const area = height * width;
    const place = (index) => (channelsFirst ? (index % area) * channels + Math.floor(index / area) : index);
    let next = 0;
    return nestedJson(this.dims(), () => shownPixel(pixels[place(next++)]));
  }

  /** The sizes of the tensor. */
  dims() {
    const { height, width } = this.size;
    const { channels, channelsFirst } = this.shape;
    const declared = this.tensor.dims;
    if (declared.length === 2) return [1, height * width];
    const image = channelsFirst ? [channels, height, width] : [height, width, channels];
    if (declared.length === 4) return [1, ...image];
    return this.shape.hasBatch ? [1, height, width] : image;
  }
}
