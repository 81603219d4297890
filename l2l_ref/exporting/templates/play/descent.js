// ---------------------------------------------------------------- the second panel: descent with gradients

const STEPS = 60,
  RATES = Array.from({ length: 36 }, (_, k) => 10 ** ((k - 20) / 5)); // 1e-4 .. 1e3

/** Optimizers of two variables; make(start, rate) gives a function from gradients to updates. */
const OPTIMIZERS = {
  learned: {
    name: "learned (LSTM)",
    shape: "circle",
    dash: [],
    make: () => {
      const state = quadraticNormalLstm.init(2);
      return (g) => quadraticNormalLstm.update(g, state);
    },
  },
  adam: {
    name: "Adam",
    shape: "square",
    dash: [7, 4],
    tuned: true,
    make: (_, rate) => {
      const m = [0, 0],
        v = [0, 0];
      let t = 0;
      return (g) => {
        t++;
        return g.map((a, k) => {
          m[k] = 0.9 * m[k] + 0.1 * a;
          v[k] = 0.999 * v[k] + 0.001 * a * a;
          return (-rate * (m[k] / (1 - 0.9 ** t))) / (Math.sqrt(v[k] / (1 - 0.999 ** t)) + 1e-8);
        });
      };
    },
  },
  momentum: {
    name: "momentum",
    shape: "triangle",
    dash: [2, 3],
    tuned: true,
    make: (_, rate) => {
      const v = [0, 0];
      return (g) => g.map((a, k) => -rate * (v[k] = 0.9 * v[k] + a));
    },
  },
  general: {
    name: "general (learned)",
    shape: "diamond",
    dash: [9, 3, 2, 3],
    off: true,
    make: (start) => {
      const state = general.init([start], [false], STEPS);
      return (g) => general.update([g], state)[0];
    },
  },
};

/** A descent from a start: its points and its losses. */
class Descent {
  constructor(name, f, start, rate) {
    [this.f, this.update] = [f, OPTIMIZERS[name].make(start, rate)];
    [this.points, this.losses] = [[start], [f(...start)]];
  }

  step() {
    const change = this.update(slope(this.f, this.points.at(-1))),
      next = this.points.at(-1).map((v, k) => v + change[k]);
    this.points.push(next);
    this.losses.push(this.f(...next));
  }
}

/** The learning rate with the lowest mean loss over all steps, from 25 starts. */
function tunedRate(name, f) {
  const starts = Array.from({ length: 25 }, (_, k) => [0.8 * (k % 5) - 1.6, 0.8 * Math.floor(k / 5) - 1.6]);
  const losses = RATES.map((rate) =>
    starts.reduce((sum, start) => {
      const descent = new Descent(name, f, start, rate);
      for (let t = 0; t < STEPS; t++) descent.step();
      return sum + descent.losses.reduce((a, b) => a + b);
    }, 0),
  ).map((sum) => (Number.isFinite(sum) ? sum : Infinity));
  return RATES[losses.indexOf(Math.min(...losses))];
}

const descentPanel = (() => {
  const names = Object.keys(OPTIMIZERS),
    chosen = element("descent-surface");
  const canvas = element("descent-map"),
    curve = element("descent-curve");
  let surface, f, picture, rates, start, descents;

  for (const [key, value] of Object.entries(SURFACES)) chosen.append(new Option(value.name, key));
  for (const name of names) {
    const label = document.createElement("label"),
      { shape, dash, off } = OPTIMIZERS[name];
    const marks = {
      circle: '<circle cx="22" cy="8" r="5"/>',
      square: '<path d="M17.5 3.5h9v9h-9z"/>',
      triangle: '<path d="M22 2l5.5 10h-11z"/>',
      diamond: '<path d="M22 1.5L28.5 8L22 14.5L15.5 8z"/>',
    };
    label.className = "check";
    label.innerHTML =
      `<input type="checkbox" id="descent-show-${name}"${off ? "" : " checked"}><svg class="key line ${name}" ` +
      `aria-hidden="true" viewBox="0 0 44 16"><path d="M0 8h44" stroke-width="2.5" stroke-dasharray="${dash}"/>` +
      `<g stroke="none">${marks[shape]}</g></svg><span></span>`;
    label.querySelector("span").textContent = OPTIMIZERS[name].name;
    element("descent-optimizers").append(label);
    label.addEventListener("change", () => draw());
  }
  const shown = () => names.filter((name) => element(`descent-show-${name}`).checked);

  function begun() {
    surface = SURFACES[chosen.value];
    const unit = (u) => surface.f(...u.map((v) => 4 * v - 2)),
      { values, side, low } = survey(unit, 2);
    f = (a, b) => surface.f(a, b) - low;
    picture = relief(values, side);
    rates = Object.fromEntries(
      names.filter((name) => OPTIMIZERS[name].tuned).map((name) => [name, tunedRate(name, f)]),
    );
    start = surface.start;
    element("descent-about").textContent =
      `${surface.about} Adam and momentum have the best of ${RATES.length} learning rates ` +
      `for this surface, ${number(rates.adam)} and ${number(rates.momentum)}. A learned optimizer has none to choose.`;
    reset();
  }

  function reset() {
    descents = Object.fromEntries(names.map((name) => [name, new Descent(name, f, start, rates[name])]));
    draw();
  }

  function one() {
    names.forEach((name) => descents[name].step());
    draw();
    return descents.learned.losses.length <= STEPS;
  }

  const height = (name) => number(Math.max(descents[name].losses.at(-1), 0));

  function said() {
    const n = descents.learned.losses.length - 1;
    element("descent-status").textContent = n
      ? `Height above the minimum after ${n} of ${STEPS} steps: ` +
        shown()
          .map((name) => `${OPTIMIZERS[name].name} ${height(name)}`)
          .join(", ") +
        "."
      : "";
  }

  function draw() {
    const [c, width, tall] = begin(canvas),
      at = ([a, b]) => [((a + 2) / 4) * width, ((2 - b) / 4) * tall];
    drawRelief(c, width, tall, 0, picture);
    for (const name of [...shown()].reverse()) {
      const { shape, dash } = OPTIMIZERS[name],
        points = descents[name].points.filter((p) => p.every((v) => Math.abs(v) < 1e4)).map(at);
      line(c, points, color("halo"), 4.5);
      line(c, points, color(name), 2.25, dash);
      points.forEach(([x, y]) => mark(c, shape, x, y, 3, color(name)));
      if (points.length) mark(c, shape, ...points.at(-1), 6.5, color(name));
    }
    const [x, y] = at(start);
    [
      [color("halo"), 5],
      [color("text"), 2.5],
    ].forEach(([stroke, thick]) => {
      outline(c, "circle", x, y, 9);
      c.strokeStyle = stroke;
      c.lineWidth = thick;
      c.stroke();
    });
    drawCurves(curve, {
      series: [...shown()]
        .reverse()
        .map((name) => ({
          values: descents[name].losses.map((v) => (Number.isFinite(v) ? v : 1e9)),
          color: color(name),
          dash: OPTIMIZERS[name].dash,
          shape: OPTIMIZERS[name].shape,
        })),
      steps: STEPS,
      first: 0,
      low: -8,
      high: 3,
      label: (power) => (power % 2 ? "" : power < -2 ? `10${raised(power)}` : String(10 ** power)),
    });
    curve.setAttribute(
      "aria-label",
      `Height above the minimum over ${descents.learned.losses.length - 1} steps. ` +
        shown()
          .map((name) => `${OPTIMIZERS[name].name}: ${height(name)}`)
          .join(", "),
    );
    canvas.setAttribute("aria-valuemin", -2);
    canvas.setAttribute("aria-valuemax", 2);
    canvas.setAttribute("aria-valuenow", start[0].toFixed(2));
    canvas.setAttribute(
      "aria-valuetext",
      `${number(Number(start[0].toFixed(2)))} across, ${number(Number(start[1].toFixed(2)))} up`,
    );
    fillTable(
      element("descent-numbers"),
      ["step", ...shown().map((name) => OPTIMIZERS[name].name)],
      descents.learned.losses.map((_, t) => [
        t,
        ...shown().map((name) => number(Math.max(descents[name].losses[t], 0))),
      ]),
    );
  }

  function startAt(a, b) {
    start = [clamp(a, -2, 2), clamp(b, -2, 2)];
    buttons.restart();
    said();
  }

  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    startAt((4 * (event.clientX - box.left)) / box.width - 2, 2 - (4 * (event.clientY - box.top)) / box.height);
    if (!still) buttons.start();
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (move) startAt(...start.map((v, k) => v + (event.shiftKey ? 0.5 : 0.1) * move[k]));
    else if (event.key === "Enter" || event.key === " ") buttons.start();
    else return;
    event.preventDefault();
  });

  const buttons = player("descent", one, reset, said);
  chosen.addEventListener("change", () => {
    buttons.pause();
    begun();
    buttons.restart();
    said();
    if (!still) buttons.start();
  });
  element("descent-numbers").addEventListener("toggle", () => draw());
  begun();
  redrawWith(() => draw(), canvas, curve);
  if (!still) {
    const seen = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        seen.disconnect();
        buttons.start();
      },
      { threshold: 0.6 },
    );
    seen.observe(canvas);
  }
})();

const errors = Object.values({ quadraticNormalLstm, general, lstmAny }).map((one) => one.test());
element("self-test").textContent =
  "in this browser they differ from the Python package by at most " +
  `${Math.max(...errors).toExponential(0)} in 100 steps.`.replace(
    /e(-\d+)/,
    (_, power) => `\u00a0\u00b7\u00a010${raised(power)}`,
  );
