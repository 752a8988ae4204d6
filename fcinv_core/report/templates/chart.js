// Drawing of maps, colour bars and curves on canvases; sizes in CSS pixels.

const Chart = (() => {
  const LIGHT = { ink: "#1b1f24", faint: "#57606a", blank: "#d9dce0", page: "#ffffff",
    blue: "#0072b2", vermilion: "#d55e00" };
  const DARK = { ink: "#e6e9ed", faint: "#a3adb8", blank: "#3a434d", page: "#14181d",
    blue: "#56b4e9", vermilion: "#ff8a4c" };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // Pages are narrower than screens, and text must not shrink with the picture.
  const PRINTED_PIXELS = 4, PRINTED_WIDTH = 0.6;
  let printing = false;

  const colours = () => (dark.matches && !printing ? DARK : LIGHT);

  function ticks(low, high, most) {
    const rough = (high - low) / Math.max(most, 1);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= rough * 0.999);
    const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
      found.push([k * step, (k * step).toFixed(decimals).replace(/^-(0(\.0*)?)$/, "$1")]);
    }
    return found;
  }

  const widthOf = (canvas) => canvas.clientWidth * (printing ? PRINTED_WIDTH : 1) || 300;

  /** A context scaled to CSS pixels, with the canvas cleared. */
  function begin(canvas, height) {
    const width = widthOf(canvas);
    const ratio = printing ? PRINTED_PIXELS : window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "12px system-ui, sans-serif";
    context.lineWidth = 1;
    return { context, width, height, ratio };
  }

  /** Frame with ticks and labels; `box` is [left, top, width, height]. */
  function frame(context, box, view, labels) {
    const [left, top, width, height] = box;
    const { ink } = colours();
    context.strokeStyle = context.fillStyle = ink;
    context.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const [value, text] of ticks(view[0], view[1], width / 60)) {
      const x = left + ((value - view[0]) / (view[1] - view[0])) * width;
      context.fillRect(x - 0.5, top + height, 1, 4);
      context.fillText(text, x, top + height + 6);
    }
    context.fillText(labels[0], left + width / 2, top + height + 21);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const [value, text] of ticks(view[2], view[3], height / 45)) {
      const y = top + height - ((value - view[2]) / (view[3] - view[2])) * height;
      context.fillRect(left - 4, y - 0.5, 4, 1);
      context.fillText(text, left - 6, y);
    }
    context.save();
    context.translate(10, top + height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(labels[1], 0, 0);
    context.restore();
  }

  const mapBox = (width, height) => [50, 8, width - 66, height - 92];

  /** Index of the bin at `value`, or -1. */
  function binAt(edges, value) {
    if (!(value >= edges[0] && value <= edges[edges.length - 1])) return -1;
    let low = 0, high = edges.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (edges[middle] <= value) low = middle; else high = middle;
    }
    return low;
  }

  /**
   * One map with its colour bar.
   *
   * `map`: edges [across, up], values (n_across × n_up, NaN: blank), view, labels, palette (RGB
   * triples), shade (value → 0 to 1), bar {label, ticks: [[value, text]]}, cross [x, y],
   * band (a zoom rectangle in data units, or null).
   */
  function drawMap(canvas, map) {
    const height = Math.min(420, Math.max(300, widthOf(canvas) * 0.95));
    canvas.style.height = `${height}px`;
    const { context, width, ratio } = begin(canvas, height);
    const box = mapBox(width, height);
    const [left, top, wide, high] = box;
    const [x0, x1, y0, y1] = map.view;
    const columns = Math.round(wide * ratio), rows = Math.round(high * ratio);
    const image = context.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const packed = (r, g, b) => (255 << 24) | (b << 16) | (g << 8) | r;
    const hex = colours().blank;
    const blank = packed(...[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    const shades = Array.from({ length: 256 }, (_, i) =>
      packed(map.palette[3 * i], map.palette[3 * i + 1], map.palette[3 * i + 2]));
    const bins = Array.from({ length: columns }, (_, i) =>
      binAt(map.edges[0], x0 + ((i + 0.5) / columns) * (x1 - x0)));
    const up = map.edges[1].length - 1;
    for (let row = 0; row < rows; row++) {
      const j = binAt(map.edges[1], y1 - ((row + 0.5) / rows) * (y1 - y0));
      for (let column = 0; column < columns; column++) {
        const value = bins[column] < 0 || j < 0 ? NaN : map.values[bins[column] * up + j];
        const shade = Math.min(255, Math.max(0, Math.floor(256 * map.shade(value))));
        pixels[row * columns + column] = Number.isNaN(value) ? blank : shades[shade];
      }
    }
    context.putImageData(image, Math.round(left * ratio), Math.round(top * ratio));
    frame(context, box, map.view, map.labels);
    const place = (x, y) => [left + ((x - x0) / (x1 - x0)) * wide,
      top + high - ((y - y0) / (y1 - y0)) * high];
    context.save();
    context.beginPath();
    context.rect(left, top, wide, high);
    context.clip();
    const [x, y] = place(...map.cross);
    for (const [style, thick] of [["#000000", 2.4], ["#ffffff", 1]]) {
      context.strokeStyle = style;
      context.lineWidth = thick;
      context.beginPath();
      context.moveTo(x, top); context.lineTo(x, top + high);
      context.moveTo(left, y); context.lineTo(left + wide, y);
      context.globalAlpha = 0.55;
      context.stroke();
    }
    context.globalAlpha = 1;
    if (map.band) {
      const [a, b] = place(map.band[0], map.band[2]), [c, d] = place(map.band[1], map.band[3]);
      for (const [style, thick] of [["#000000", 3], ["#ffffff", 1.5]]) {
        context.strokeStyle = style;
        context.lineWidth = thick;
        context.strokeRect(Math.min(a, c), Math.min(b, d), Math.abs(c - a), Math.abs(d - b));
      }
    }
    context.restore();
    bar(context, [left, height - 40, wide, 10], map);
  }

  function bar(context, [left, top, width, height], map) {
    for (let i = 0; i < width; i++) {
      const at = 3 * Math.min(255, Math.floor((256 * (i + 0.5)) / width));
      context.fillStyle = `rgb(${map.palette[at]},${map.palette[at + 1]},${map.palette[at + 2]})`;
      context.fillRect(left + i, top, 1, height);
    }
    context.fillStyle = colours().ink;
    context.textAlign = "center";
    context.textBaseline = "top";
    let last = -Infinity;
    for (const [value, text] of map.bar.ticks) {
      const x = left + map.shade(value) * width;
      if (x - last < context.measureText(text).width + 8) continue;
      context.fillRect(x - 0.5, top + height, 1, 3);
      context.fillText(text, x, top + height + 4);
      last = x;
    }
    context.fillText(map.bar.label, left + width / 2, top + height + 17);
  }

  /** Measured points with error bars and the simulated curve along one axis. */
  function drawCut(canvas, cut) {
    const height = 230;
    canvas.style.height = `${height}px`;
    const { context, width } = begin(canvas, height);
    const box = [50, 8, width - 66, height - 50];
    const [left, top, wide, high] = box;
    let lowest = 0, highest = 0;
    cut.edges.slice(1).forEach((edge, i) => {
      if (edge < cut.range[0] || cut.edges[i] > cut.range[1]) return;
      for (const value of [cut.measured[i] + (cut.sigma[i] || 0), cut.simulated[i],
        cut.measured[i] - (cut.sigma[i] || 0)]) {
        if (value > highest) highest = value;
        if (value < lowest) lowest = value;
      }
    });
    const view = [...cut.range, lowest * 1.05, highest * 1.05 || 1];
    const place = (x, y) => [left + ((x - view[0]) / (view[1] - view[0])) * wide,
      top + high - ((y - view[2]) / (view[3] - view[2])) * high];
    const { ink, blue } = colours();
    context.save();
    context.beginPath();
    context.rect(left, top, wide, high);
    context.clip();
    context.strokeStyle = blue;
    context.lineWidth = 2;
    context.beginPath();
    let drawing = false;
    const centres = cut.edges.slice(1).map((edge, i) => (edge + cut.edges[i]) / 2);
    centres.forEach((centre, i) => {
      if (Number.isNaN(cut.simulated[i])) { drawing = false; return; }
      const at = place(centre, cut.simulated[i]);
      if (drawing) context.lineTo(...at); else context.moveTo(...at);
      drawing = true;
    });
    context.stroke();
    context.strokeStyle = context.fillStyle = ink;
    context.lineWidth = 1;
    centres.forEach((centre, i) => {
      if (Number.isNaN(cut.measured[i])) return;
      const [x, y] = place(centre, cut.measured[i]);
      const reach = place(centre, cut.measured[i] + (cut.sigma[i] || 0))[1] - y;
      context.globalAlpha = cut.used[i] ? 1 : 0.35;
      context.beginPath();
      context.moveTo(x, y - reach);
      context.lineTo(x, y + reach);
      context.stroke();
      context.beginPath();
      context.arc(x, y, 2.2, 0, 7);
      context.fill();
    });
    context.globalAlpha = 1;
    context.restore();
    frame(context, box, view, [cut.label, "Intensity"]);
  }

  return {
    drawMap, drawCut, binAt, mapBox, ticks,
    /** Calls `redraw` when colours or sizes change, and around printing. */
    onChange(redraw) {
      dark.addEventListener("change", redraw);
      window.addEventListener("resize", redraw);
      window.addEventListener("beforeprint", () => { printing = true; redraw(); });
      window.addEventListener("afterprint", () => { printing = false; redraw(); });
    },
  };
})();
