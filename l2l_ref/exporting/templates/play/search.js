// ---------------------------------------------------------------- the first panel: search without gradients

const EVALUATIONS = 30,
  INSET = 12; // the points of a plot keep a distance from its edge
const SEARCHES = {
  learned: { shape: "circle", dash: [], make: (dim, seed) => new lstmAny.Search(dim, seed) },
  random: { shape: "square", dash: [7, 4], make: randomSearch },
};

/** A search of [0, 1]^dim: ask() gives a point, tell(value) its value. The export has the same interface. */
function randomSearch(dim, seed) {
  const uniform = generator(2 * seed + 1);
  return { ask: () => Array.from({ length: dim }, uniform), tell() {} };
}

/** The record of one search: its points, its values, and the number of the best after each. */
class Run {
  constructor(name, dim, seed) {
    this.search = SEARCHES[name].make(dim, seed);
    this.points = [];
    this.values = [];
    this.best = [];
  }

  step(f) {
    const point = this.search.ask(),
      value = f(point),
      n = this.values.length;
    this.search.tell(value);
    this.points.push(point);
    this.values.push(value);
    this.best.push(n && this.values[this.best[n - 1]] <= value ? this.best[n - 1] : n);
  }

  get bestValue() {
    return this.values[this.best.at(-1)];
  }
}

const searchPanel = (() => {
  const names = Object.keys(SEARCHES),
    chosen = element("search-function"),
    seedInput = element("search-seed");
  const plots = Object.fromEntries(names.map((name) => [name, element(`search-${name}`)])),
    curve = element("search-curve");
  let kind,
    f,
    map,
    picture,
    runs,
    many = null,
    knot = 20,
    cursor = { x: 0.5, y: 0.5 };

  for (const dim of [1, 2]) {
    const group = document.createElement("optgroup");
    group.label = dim === 1 ? "One variable" : "Two variables";
    for (const [key, value] of Object.entries(FUNCTIONS)) {
      if (value.dim === dim) group.append(new Option(value.name, key, false, key === "gp-2"));
    }
    chosen.append(group);
  }

  const seed = () => Math.abs(Math.trunc(Number(seedInput.value))) || 0;
  const gap = (value) => (value - map.low) / (map.high - map.low || 1);
  const percent = (g) => (g < 0.0001 ? "less than 0.01\u00a0%" : `${Number((100 * g).toPrecision(2))}\u00a0%`);

  /** Take the function as it is now, and start afresh. */
  function begun() {
    kind = FUNCTIONS[chosen.value];
    f = kind.make(seed());
    map = survey(f, kind.dim);
    picture = kind.dim === 2 ? relief(map.values, map.side) : null;
    many = null;
    element("search-luck-result").textContent = "";
    reset();
  }

  function reset() {
    runs = Object.fromEntries(names.map((name) => [name, new Run(name, kind.dim, seed())]));
    draw();
  }

  function one() {
    names.forEach((name) => runs[name].step(f));
    draw();
    return runs.learned.values.length < EVALUATIONS;
  }

  function said() {
    const n = runs.learned.values.length;
    element("search-status").textContent = n
      ? `After ${n} of ${EVALUATIONS} evaluations the learned optimizer is ` +
        `${percent(gap(runs.learned.bestValue))} above the minimum, ` +
        `random search ${percent(gap(runs.random.bestValue))}.`
      : "";
  }

  function draw() {
    names.forEach((name) => drawPlot(name));
    const series = [];
    if (many)
      names.forEach((name) =>
        series.push({ values: many[name].median, band: many[name].band, color: color(name), dash: [2, 3], width: 1.5 }),
      );
    names.forEach((name) =>
      series.push({
        values: runs[name].best.map((k) => gap(runs[name].values[k])),
        color: color(name),
        dash: SEARCHES[name].dash,
        shape: SEARCHES[name].shape,
      }),
    );
    drawCurves(curve, {
      series,
      steps: EVALUATIONS,
      first: 1,
      low: -4,
      high: 0,
      label: (p) => `${Number((100 * 10 ** p).toPrecision(1))} %`,
    });
    curve.setAttribute(
      "aria-label",
      `Best value so far of both searches, in per cent of the range of the function. ` +
        names
          .map((name) => (runs[name].values.length ? `${name}: ${percent(gap(runs[name].bestValue))}` : ""))
          .join(", "),
    );
    fillTable(
      element("search-numbers"),
      ["evaluation", "learned", "best so far", "random", "best so far"],
      runs.learned.values.map((_, k) => [
        k + 1,
        ...names.flatMap((name) => [runs[name].values[k], runs[name].values[runs[name].best[k]]].map(number)),
      ]),
    );
  }

  function drawPlot(name) {
    const canvas = plots[name],
      [c, width, height] = begin(canvas),
      run = runs[name],
      hidden = element("search-hide").checked;
    const n = run.values.length,
      best = run.best.at(-1);
    const range = kind.edit && kind.dim === 1 ? [0, 1] : [map.low, map.high],
      pad = 26;
    const px = (x) => INSET + x * (width - 2 * INSET);
    const py = (y) => height - pad - ((y - range[0]) / (range[1] - range[0] || 1)) * (height - 2 * pad);
    const at = (point, value) =>
      kind.dim === 1 ? [px(point[0]), py(value)] : [px(point[0]), INSET + (1 - point[1]) * (height - 2 * INSET)];
    if (kind.dim === 2 && !hidden) drawRelief(c, width, height, INSET, picture);
    if (kind.dim === 1 && n)
      line(
        c,
        [
          [0, py(run.values[best])],
          [width, py(run.values[best])],
        ],
        color(name),
        1,
        [4, 4],
      );
    if (kind.dim === 1 && !hidden) {
      line(
        c,
        Array.from(map.values, (v, i) => [px(i / (map.side - 1)), py(v)]),
        color("text"),
        1.75,
      );
    }
    if (!hidden) cross(c, ...at(map.x, map.low));
    run.values.forEach((value, k) => {
      const [x, y] = at(run.points[k], value),
        latest = k === n - 1;
      mark(c, SEARCHES[name].shape, x, y, latest ? 10 : 8, color(name));
      text(c, String(k + 1), x, y + 0.5, color("mark"), { size: latest ? 11 : 9.5, align: "center", weight: 700 });
    });
    if (n) {
      const [x, y] = at(run.points[best], run.values[best]);
      outline(c, SEARCHES[name].shape, x, y, 12.5);
      c.strokeStyle = color("text");
      c.lineWidth = 2;
      c.stroke();
    }
    if (kind.edit && document.activeElement === canvas) drawCursor(c, at);
    element(`search-${name}-best`).textContent = n ? `best ${number(run.values[best])} (no. ${best + 1})` : "";
    label(canvas, name, n, best);
  }

  function drawCursor(c, at) {
    const point = kind.dim === 1 ? [knot / 40] : [cursor.x, cursor.y],
      [x, y] = at(point, f(point));
    outline(c, "diamond", x, y, 8);
    c.strokeStyle = color("accent");
    c.lineWidth = 3;
    c.stroke();
  }

  function label(canvas, name, n, best) {
    const what = name === "learned" ? "Learned optimizer" : "Random search";
    const words = n
      ? `${n} evaluations, best value ${number(runs[name].values[best])} at evaluation ${best + 1}`
      : "no evaluation yet";
    const set = (attributes) =>
      Object.entries(attributes).forEach(([key, value]) =>
        value === null ? canvas.removeAttribute(key) : canvas.setAttribute(key, value),
      );
    const values = { "aria-valuemin": 0, "aria-valuemax": 100 };
    if (!kind.edit) {
      set({
        role: "img",
        tabindex: null,
        "aria-label": `${what}: ${words}`,
        "aria-roledescription": null,
        "aria-valuetext": null,
        "aria-valuemin": null,
        "aria-valuemax": null,
        "aria-valuenow": null,
        "aria-orientation": null,
      });
      canvas.style.touchAction = "";
    } else if (kind.dim === 1) {
      set({
        role: "slider",
        tabindex: 0,
        "aria-label": `${what}: the curve, to be drawn`,
        "aria-orientation": "vertical",
        ...values,
        "aria-valuenow": Math.round(100 * drawn[knot]),
        "aria-valuetext": `place ${knot + 1} of 41, height ${Math.round(100 * drawn[knot])} of 100`,
      });
      canvas.style.touchAction = "none";
    } else {
      set({
        role: "slider",
        tabindex: 0,
        "aria-label": `${what}: the map, to be dug`,
        "aria-roledescription": "two-dimensional slider",
        ...values,
        "aria-valuenow": Math.round(100 * cursor.x),
        "aria-valuetext": `${Math.round(100 * cursor.x)} across, ${Math.round(100 * cursor.y)} up`,
      });
      canvas.style.touchAction = "manipulation";
    }
  }

  // ---- a function of one's own

  function edited() {
    buttons.pause();
    begun();
    buttons.restart();
    said();
  }

  /** Let the curve pass through a place of the canvas, from the place before. */
  function drawTo(canvas, event, from) {
    const box = canvas.getBoundingClientRect();
    const x = clamp((event.clientX - box.left - INSET) / (box.width - 2 * INSET)),
      y = clamp((box.bottom - 26 - event.clientY) / (box.height - 52));
    const last = from ?? { x, y },
      low = Math.min(x, last.x) * 40,
      high = Math.max(x, last.x) * 40;
    for (let k = Math.round(low); k <= Math.round(high); k++) {
      const t = x === last.x ? 1 : clamp((k / 40 - last.x) / (x - last.x));
      drawn[k] = last.y + t * (y - last.y);
    }
    knot = Math.round(40 * x);
    return { x, y };
  }

  function dig(x, y) {
    dug.push({ x, y });
    edited();
  }

  for (const canvas of Object.values(plots)) {
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (!kind.edit || kind.dim === 2) return;
      canvas.setPointerCapture(event.pointerId);
      from = drawTo(canvas, event, null);
      edited();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from || !kind.edit || kind.dim === 2) return;
      from = drawTo(canvas, event, from);
      edited();
    });
    ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => (from = null)));
    canvas.addEventListener("click", (event) => {
      if (!kind.edit || kind.dim === 1) return;
      const box = canvas.getBoundingClientRect();
      cursor = {
        x: clamp((event.clientX - box.left - INSET) / (box.width - 2 * INSET)),
        y: clamp((box.bottom - INSET - event.clientY) / (box.height - 2 * INSET)),
      };
      dig(cursor.x, cursor.y);
    });
    canvas.addEventListener("keydown", (event) => {
      if (!kind.edit) return;
      const [right, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[
        event.key
      ] ?? [0, 0];
      if (kind.dim === 2 && (event.key === "Enter" || event.key === " ")) dig(cursor.x, cursor.y);
      else if (!right && !up) return;
      else if (kind.dim === 2) cursor = { x: clamp(cursor.x + 0.05 * right), y: clamp(cursor.y + 0.05 * up) };
      else {
        knot = clamp(knot + right, 0, 40);
        if (up) {
          drawn.forEach((v, k) => (drawn[k] = clamp(v + 0.06 * up * Math.exp(-((k - knot) ** 2) / 4.5))));
          edited();
        }
      }
      event.preventDefault();
      draw();
    });
    ["focus", "blur"].forEach((name) => canvas.addEventListener(name, draw));
  }

  element("search-clear").addEventListener("click", () => {
    drawn.fill(0.6);
    dug.length = 0;
    edited();
  });

  // ---- many seeds

  /** Both searches with 100 seeds, in the time between frames: the median and the middle 80 % of the best so far. */
  async function luck() {
    const rows = { learned: [], random: [] },
      [of, now] = [kind, f],
      button = element("search-luck"),
      ahead = [10, EVALUATIONS];
    button.disabled = true;
    for (let k = 0; k < 100 && f === now; k++) {
      const g = of.edit || of.make.length === 0 ? f : of.make(k),
        { low, high } = g === now ? map : survey(g, of.dim, 41);
      for (const name of names) {
        const run = new Run(name, of.dim, k);
        for (let t = 0; t < EVALUATIONS; t++) run.step(g);
        rows[name].push(run.best.map((b) => (run.values[b] - low) / (high - low || 1)));
      }
      element("search-luck-count").textContent = `${k + 1} of 100`;
      await new Promise((resolve) => setTimeout(resolve));
    }
    button.disabled = false;
    element("search-luck-count").textContent = "";
    if (f !== now) return; // another function was chosen or drawn
    const quantile = (name, q) =>
      rows[name][0].map((_, t) => rows[name].map((row) => row[t]).sort((a, b) => a - b)[Math.round(99 * q)]);
    many = Object.fromEntries(
      names.map((name) => [name, { median: quantile(name, 0.5), band: [quantile(name, 0.1), quantile(name, 0.9)] }]),
    );
    const wins = ahead.map((n) => rows.learned.filter((row, k) => row[n - 1] < rows.random[k][n - 1]).length);
    element("search-luck-result").textContent =
      `The learned optimizer was ahead in ${wins[0]} of 100 runs after ${ahead[0]} evaluations ` +
      `and in ${wins[1]} after ${ahead[1]}. Dotted: the median of the runs; shaded: the middle 80 %.`;
    draw();
  }
  element("search-luck").addEventListener("click", luck);

  // ---- controls

  const buttons = player("search", one, reset, said);
  function chosenAnew() {
    buttons.pause();
    begun();
    buttons.restart();
    said();
    element("search-about").textContent = kind.about;
    element("search-clear").hidden = !kind.edit;
    if (!still && !kind.edit) buttons.start();
  }
  chosen.addEventListener("change", chosenAnew);
  seedInput.addEventListener("change", chosenAnew);
  element("search-next").addEventListener("click", () => {
    seedInput.value = (seed() + 1) % 1000000;
    chosenAnew();
  });
  element("search-hide").addEventListener("change", draw);
  element("search-numbers").addEventListener("toggle", draw);
  chosenAnew();
  redrawWith(draw, curve, ...Object.values(plots));
})();
