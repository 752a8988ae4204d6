// The viewer of each workspace: shows any slice of its bins, zooms, cuts.

(() => {
  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const short = (value) => String(+value.toPrecision(3));
  /** As many digits as the standard deviation justifies. */
  const withSigma = (value, sigma) => {
    if (!(sigma > 0)) return short(value);
    const digits = Math.min(12, Math.max(0, 1 - Math.floor(Math.log10(sigma))));
    return `${value.toFixed(digits)} ± ${sigma.toFixed(digits)}`;
  };

  class Viewer {
    constructor(holder, data, arrays, palettes) {
      Object.assign(this, { holder, data, arrays, palettes });
      this.shown = [...data.shown];
      this.places = [...data.places];
      this.long = data.axes.map((_, i) => i).filter((i) => data.axes[i].edges.length > 2);
      this.beganWithAverage = this.long.some((i) =>
        !this.shown.includes(i) && this.places[i] === null);
      this.build();
      this.select();
      Chart.onChange(() => this.draw());
    }

    build() {
      this.controls = element("div", { className: "controls" });
      this.maps = {};
      const grid = element("div", { className: "maps" });
      for (const [key, title] of [["measured", "Measured"], ["simulated", "Simulated"],
        ["residual", "(Measured − simulated) / σ"]]) {
        const canvas = element("canvas");
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", title);
        this.maps[key] = canvas;
        this.listen(canvas);
        grid.append(element("div", {}, element("h4", { textContent: title }), canvas));
      }
      this.readout = element("p", { className: "readout" });
      this.cuts = [0, 1].map(() => {
        const title = element("h4"), canvas = element("canvas");
        canvas.setAttribute("role", "img");
        return { title, canvas, panel: element("div", {}, title, canvas) };
      });
      const cuts = element("div", { className: "cuts" }, ...this.cuts.map((cut) => cut.panel));
      this.place = element("p", { className: "place" });
      this.holder.append(this.controls, this.place, grid, this.readout, cuts);
      this.holder.closest("figure").classList.add("live");
    }

    buildControls() {
      const { axes } = this.data;
      this.controls.replaceChildren();
      const choice = (title, number) => {
        const select = element("select", { onchange: () => {
          this.show(number, Number(select.value));
        } }, ...this.long.map((i) => element("option", {
          value: i, textContent: axes[i].label, selected: i === this.shown[number] })));
        return element("label", {}, element("span", { textContent: title }), select);
      };
      if (this.long.length > 2) this.controls.append(choice("Across", 0), choice("Up", 1));
      for (const i of this.long.filter((axis) => !this.shown.includes(axis))) {
        this.controls.append(this.sliceControl(i));
      }
      const [low, high] = this.limits;
      const slider = element("input", { type: "range", min: -100, max: 100, value: 0,
        oninput: () => {
          this.top = low + (high - low) * 10 ** (slider.value / 50);
          this.draw();
        } });
      this.controls.append(element("label", {},
        element("span", { textContent: "Brightest colour" }), slider));
      const zoom = (factor) => () => this.zoom(factor);
      this.controls.append(element("span", { className: "buttons" },
        element("button", { type: "button", textContent: "Zoom in", onclick: zoom(0.5) }),
        element("button", { type: "button", textContent: "Zoom out", onclick: zoom(2) }),
        element("button", { type: "button", textContent: "Whole",
          onclick: () => { this.whole(); this.draw(); } })));
    }

    sliceControl(i) {
      const { edges, name } = this.data.axes[i];
      const slider = element("input", { type: "range", min: 0, max: edges.length - 2,
        value: this.places[i] ?? Math.floor((edges.length - 1) / 2) });
      const average = element("input", { type: "checkbox", checked: this.places[i] === null });
      const change = () => {
        slider.disabled = average.checked;
        this.places[i] = average.checked ? null : Number(slider.value);
        this.select(true);
      };
      slider.disabled = average.checked;
      slider.oninput = average.onchange = change;
      return element("span", { className: "slice" },
        element("label", {}, element("span", { textContent: name }), slider),
        element("label", { className: "tick" }, average, " average over all"));
    }

    /** A new plane; zoom and colours stay where only the place of the plane has changed. */
    select(keepView = false) {
      this.plane = Bins.planeOf(this.data, this.arrays, this.shown, this.places);
      this.edges = this.shown.map((i) => this.data.axes[i].edges);
      if (!keepView) {
        this.whole();
        this.cross = this.surest();
        this.limits = this.scale();
        this.top = this.limits[1];
        this.buildControls();
      }
      this.draw();
    }

    /** Another axis across (0) or up (1); the slice goes through the cross. */
    show(number, axis) {
      const left = this.shown[number], bin = Chart.binAt(this.edges[number], this.cross[number]);
      if (this.shown[1 - number] === axis) this.shown[1 - number] = left;
      this.shown[number] = axis;
      // Where it began with an average, slices hold hardly anything.
      this.places[left] = this.beganWithAverage ? null : bin;
      for (const i of this.shown) this.places[i] = null;
      this.select();
    }

    /** Ends of the colour scale: as `_intensity_limits` in fcinv_core/report/figures.py. */
    scale() {
      const { measured, simulated, residual } = this.plane;
      const shown = [measured, simulated].flatMap((values) =>
        [...values].filter((value, i) => !Number.isNaN(residual[i]) && !Number.isNaN(value)));
      if (!shown.length) return [0, 1];
      shown.sort((a, b) => a - b);
      const [low, high] = [0.005, 0.995].map((part) =>
        shown[Math.round(part * (shown.length - 1))]);
      return [Math.min(low, 0), high > low ? high : low + 1];
    }

    whole() {
      this.view = this.edges.flatMap((edges) => [edges[0], edges[edges.length - 1]]);
    }

    /** Centre of the bin in view of the surest signal among those that were fitted. */
    surest() {
      const { measured, sigma, residual } = this.plane;
      const up = this.edges[1].length - 1;
      const [x0, x1, y0, y1] = this.view;
      let best = [(x0 + x1) / 2, (y0 + y1) / 2], most = -Infinity;
      measured.forEach((value, i) => {
        const least = value - 3 * (sigma[i] || 0);
        if (Number.isNaN(residual[i]) || sigma[i] === 0 || !(least > most)) return;
        const [x, y] = [Math.floor(i / up), i % up].map((bin, axis) =>
          (this.edges[axis][bin] + this.edges[axis][bin + 1]) / 2);
        if (x < x0 || x > x1 || y < y0 || y > y1) return;
        [best, most] = [[x, y], least];
      });
      return best;
    }

    /** Cuts run through what is seen. */
    keepCrossInView() {
      const [x0, x1, y0, y1] = this.view, [x, y] = this.cross;
      if (x < x0 || x > x1 || y < y0 || y > y1) this.cross = this.surest();
    }

    /** The view `factor` times as large around a point, within the data. */
    zoom(factor, around = this.cross) {
      this.view = [0, 1].flatMap((axis) => {
        const edges = this.edges[axis], [low, high] = this.view.slice(2 * axis, 2 * axis + 2);
        const centre = Math.min(Math.max(around[axis], low), high);
        const ends = [edges[0], edges[edges.length - 1]];
        const from = Math.max(ends[0], centre - (centre - low) * factor);
        const to = Math.min(ends[1], centre + (high - centre) * factor);
        return to - from < (ends[1] - ends[0]) / 1000 ? [low, high] : [from, to];
      });
      this.keepCrossInView();
      this.draw();
    }

    draw() {
      const labels = this.shown.map((i) => this.data.axes[i].label);
      const low = this.limits[0], span = this.top - low;
      const intensity = {
        palette: this.palettes.intensity,
        shade: (value) => Math.sqrt(Math.min(1, Math.max(0, (value - low) / span))),
        bar: { label: "Intensity (as measured)", ticks: Chart.ticks(low, this.top, 6) },
      };
      const reach = this.data.residual_limit;
      const residual = {
        palette: this.palettes.residual,
        shade: (value) => Math.min(1, Math.max(0, (value / reach + 1) / 2)),
        bar: { label: "Residual (σ)", ticks: Chart.ticks(-reach, reach, 6) },
      };
      for (const [key, canvas] of Object.entries(this.maps)) {
        Chart.drawMap(canvas, { ...(key === "residual" ? residual : intensity),
          edges: this.edges, values: this.plane[key], view: this.view, labels,
          cross: this.cross, band: this.band });
      }
      this.place.textContent = this.placeInWords();
      this.tell(this.cross);
      this.drawCuts(labels);
    }

    drawCuts(labels) {
      const bins = [0, 1].map((axis) => Chart.binAt(this.edges[axis], this.cross[axis]));
      const up = this.edges[1].length - 1;
      this.cuts.forEach(({ title, canvas }, number) => {
        const along = 1 - number;  // first along the vertical axis: often the energy
        const across = 1 - along;
        const n = this.edges[along].length - 1;
        const index = (k) => (along === 1 ? bins[0] * up + k : k * up + bins[1]);
        const take = (values) => Array.from({ length: n }, (_, k) => values[index(k)]);
        const [from, to] = this.edges[across].slice(bins[across], bins[across] + 2);
        const { name, unit } = this.data.axes[this.shown[across]];
        title.textContent = `Cut at ${name} from ${short(from)} to ${short(to)} ${unit}`;
        canvas.setAttribute("aria-label", title.textContent);
        const residuals = take(this.plane.residual);
        Chart.drawCut(canvas, { edges: this.edges[along], label: labels[along],
          measured: take(this.plane.measured), simulated: take(this.plane.simulated),
          sigma: take(this.plane.sigma), used: residuals.map((value) => !Number.isNaN(value)),
          range: this.view.slice(2 * along, 2 * along + 2) });
      });
    }

    placeInWords() {
      const others = this.long.filter((i) => !this.shown.includes(i));
      const words = others.map((i) => {
        const { name, unit, edges } = this.data.axes[i], bin = this.places[i];
        const [from, to] = bin === null
          ? [edges[0], edges[edges.length - 1]] : [edges[bin], edges[bin + 1]];
        return `${bin === null ? "average over " : ""}${name} from ${short(from)} to `
          + `${short(to)} ${unit}`;
      });
      return words.length ? `Shown: ${words.join(", ")}.`.replace("..", ".") : "";
    }

    /** Values at a place, in words. */
    tell(point) {
      const bins = [0, 1].map((axis) => Chart.binAt(this.edges[axis], point[axis]));
      if (bins.includes(-1)) return;
      const at = bins[0] * (this.edges[1].length - 1) + bins[1];
      const place = this.shown.map((i, axis) => {
        const { name, unit, edges } = this.data.axes[i];
        return `${name} ${short((edges[bins[axis]] + edges[bins[axis] + 1]) / 2)} ${unit}`;
      });
      const { measured, simulated, sigma, residual } = this.plane;
      const pull = Number.isNaN(residual[at]) ? "not used in the fit"
        : Math.abs(residual[at]) < this.data.largest_residual - 0.01
          ? `residual ${short(residual[at])} σ`
          : `residual beyond ${short(residual[at])} σ`;
      const found = Number.isNaN(measured[at]) ? "not measured"
        : `measured ${withSigma(measured[at], sigma[at])}, simulated ${short(simulated[at])}, ${
          pull}`;
      this.readout.textContent = `${place.join(", ")}: ${found}`;
    }

    /** Mouse: drag to zoom, click to cut. Touch: tap to cut, two fingers to zoom. */
    listen(canvas) {
      const at = (event) => {
        const bounds = canvas.getBoundingClientRect();
        const [left, top, wide, high] = Chart.mapBox(bounds.width, bounds.height);
        const [x0, x1, y0, y1] = this.view;
        const part = (value) => Math.min(1, Math.max(0, value));
        return [x0 + part((event.clientX - bounds.left - left) / wide) * (x1 - x0),
          y1 - part((event.clientY - bounds.top - top) / high) * (y1 - y0)];
      };
      const fingers = new Map();
      let from = null, spread = 0;
      const distance = () => {
        const [a, b] = [...fingers.values()];
        return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      };
      canvas.onpointerdown = (event) => {
        fingers.set(event.pointerId, event);
        if (fingers.size === 1) from = { event, point: at(event) };
        if (fingers.size === 2) { from = null; spread = distance(); }
        if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
      };
      canvas.onpointermove = (event) => {
        if (!fingers.has(event.pointerId)) { this.tell(at(event)); return; }
        fingers.set(event.pointerId, event);
        if (fingers.size === 2) {
          const now = distance(), [a, b] = [...fingers.values()].map(at);
          this.zoom(spread / now, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
          spread = now;
        } else if (from && event.pointerType === "mouse" && this.hasMoved(from.event, event)) {
          const to = at(event);
          this.band = [from.point[0], to[0], from.point[1], to[1]];
          this.draw();
        }
      };
      canvas.onpointerup = (event) => {
        fingers.delete(event.pointerId);
        if (!from) return;
        if (this.band) {
          const [a, b, c, d] = this.band;
          this.band = null;
          if (a !== b && c !== d) {
            this.view = [Math.min(a, b), Math.max(a, b), Math.min(c, d), Math.max(c, d)];
            this.keepCrossInView();
          }
        } else {
          this.cross = at(event);
        }
        from = null;
        this.draw();
      };
      canvas.onpointercancel = (event) => {
        fingers.delete(event.pointerId);
        from = this.band = null;
      };
      canvas.onpointerleave = () => this.tell(this.cross);
      canvas.ondblclick = () => { this.whole(); this.draw(); };
    }

    hasMoved(before, now) {
      return Math.hypot(now.clientX - before.clientX, now.clientY - before.clientY) > 5;
    }
  }

  async function begin() {
    const palettes = {};
    const given = JSON.parse(document.getElementById("palettes").textContent);
    for (const [name, colours] of Object.entries(given)) palettes[name] = Bins.bytesOf(colours);
    for (const holder of document.querySelectorAll(".viewer")) {
      const data = JSON.parse(holder.querySelector("script").textContent);
      new Viewer(holder, data, await Bins.unpack(data), palettes);
    }
  }

  // The pictures stay where a browser cannot unpack.
  if ("DecompressionStream" in window && document.querySelector(".viewer")) begin();
})();
