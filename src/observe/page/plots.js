
// Plots of the last minutes: lines in SVG, their numbers in words beside them, one cursor through all of them.

const SVG = 'http://www.w3.org/2000/svg';
// How much of the past is kept and shown, and in how many points at most.
const HISTORY_MILLIS = 300000;
const POINTS_MAX = 600;
const WIDTH = 600;
const HEIGHT = 100;

function element(name, attributes, ...children) {
  const made = name === 'svg' || name === 'path' || name === 'line'
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// The points so far, oldest first; a value is null where there is none, and a line ends there.
class History {
  constructor() {
    this.points = [];
  }

  push(point) {
    this.points.push(point);
    while (this.points.length > POINTS_MAX || point.at - this.points[0].at > HISTORY_MILLIS) this.points.shift();
  }
}

// The next of 1, 2, 5, 10, 20, 50 and so on.
function ceiling(number) {
  if (!(number > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(number));
  const steps = [1, 1.5, 2, 3, 5, 7.5, 10];
  return unit * (steps.find((step) => step * unit >= number * 0.999) ?? 10);
}

const PLOTS = [
  {
    title: 'Requests', unit: 'a second', show: count,
    lines: [['all', (p) => p.requests], ['4xx', (p) => p.e4], ['5xx', (p) => p.e5]],
  },
  {
    title: 'Added to requests', unit: '', show: time,
    lines: [['p50', (p) => p.request50], ['p99', (p) => p.request99]],
  },
  {
    title: 'Added to responses', unit: '', show: time,
    lines: [['p50', (p) => p.response50], ['p99', (p) => p.response99]],
  },
  {
    title: 'Time to head', unit: 'of providers', show: time,
    lines: [['p50', (p) => p.head50], ['p99', (p) => p.head99]],
  },
  {
    title: 'Longest gap', unit: 'in a response', show: time,
    lines: [['p50', (p) => p.gap50], ['p99', (p) => p.gap99]],
  },
  {
    title: 'Errors', unit: 'a second', show: count,
    lines: [['own', (p) => p.errors], ['cut', (p) => p.broken], ['left', (p) => p.gone]],
  },
  {
    title: 'Connections', unit: '', show: whole,
    lines: [['clients', (p) => p.clients], ['busy', (p) => p.busy], ['idle', (p) => p.idle]],
  },
  { title: 'Requests under way', unit: '', show: whole, lines: [['all', (p) => p.inFlight]] },
  {
    title: 'Content', unit: 'bytes a second', show: bytes,
    lines: [['out', (p) => p.sent], ['in', (p) => p.received]],
  },
];

class Plot {
  constructor(spec, cursor) {
    this.spec = spec;
    this.values = [];
    this.svg = element('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    this.grid = element('path', { class: 'grid' });
    this.area = element('path', { class: 'area' });
    this.anew = element('path', { class: 'anew' });
    this.paths = spec.lines.map((_, at) => element('path', { class: `s${at}` }));
    this.cursor = element('line', { class: 'cursor', y1: 0, y2: HEIGHT, visibility: 'hidden' });
    this.svg.append(this.grid, this.area, ...[...this.paths].reverse(), this.anew, this.cursor);
    this.top = element('i', { class: 'top' });
    this.mid = element('i', { class: 'mid' });
    this.low = element('i', { class: 'low' });
    this.none = element('i', { class: 'none' });
    this.frame = element('div', { class: 'frame', tabindex: 0, role: 'img' },
      this.svg, this.top, this.mid, this.low, this.none);
    this.root = element('figure', {}, this.caption(), this.frame,
      element('div', { class: 'times', 'aria-hidden': 'true' },
        element('span', {}, '5 minutes ago'), element('span', {}, 'now')));
    this.listen(cursor);
  }

  caption() {
    const legend = element('p', { class: 'legend' });
    for (const [at, [name]] of this.spec.lines.entries()) {
      const swatch = element('svg', { viewBox: '0 0 16 8', 'aria-hidden': 'true' },
        element('path', { class: `s${at}`, d: 'M0 4H16' }));
      const value = element('b');
      this.values.push(value);
      legend.append(element('span', {}, swatch, `${name} `, value));
    }
    return element('figcaption', {}, element('span', {}, this.spec.title, ' ',
      element('span', { class: 'faint' }, this.spec.unit)), legend);
  }

  listen(cursor) {
    this.frame.addEventListener('pointermove', (event) => {
      const box = this.svg.getBoundingClientRect();
      cursor.toShare((event.clientX - box.left) / Math.max(1, box.width));
    });
    this.frame.addEventListener('pointerleave', () => cursor.leave());
    this.frame.addEventListener('blur', () => cursor.leave());
    this.frame.addEventListener('keydown', (event) => {
      if (cursor.onKey(event.key, this)) event.preventDefault();
    });
  }

  draw(points, now) {
    const xs = points.map((point) => WIDTH * (1 - (now - point.at) / HISTORY_MILLIS));
    const lines = this.spec.lines.map(([, get]) => points.map((point) => (point.silent ? null : get(point))));
    const known = lines.flat().filter((value) => value !== null);
    const scale = this.spec.show === time && known.length > 0 ? decades(known) : steps(this.most(known));
    const y = (value) => HEIGHT * (1 - Math.max(0, scale.share(value)));
    for (const [at, values] of lines.entries()) this.paths[at].setAttribute('d', path(xs, values, y));
    this.area.setAttribute('d', area(xs, lines[0], y));
    this.grid.setAttribute('d', scale.grid.map((share) => `M0 ${(HEIGHT * (1 - share)).toFixed(1)}H${WIDTH}`).join(''));
    const anew = points.map((point, at) => (point.anew ? `M${xs[at].toFixed(1)} 0V${HEIGHT}` : '')).join('');
    this.anew.setAttribute('d', anew);
    for (const [at, node] of [this.low, this.mid, this.top].entries()) {
      const value = scale.labels[at];
      say(node, known.length > 0 && value !== null ? this.spec.show(value) : '');
    }
    say(this.none, known.length > 0 ? '' : 'nothing yet');
    const said = this.spec.lines.map(([name], at) => this.summary(name, lines[at]));
    const label = `${`${this.spec.title} ${this.spec.unit}`.trim()}, the last five minutes. ${said.join('. ')}.`;
    this.frame.setAttribute('aria-label', label);
  }

  // What the top of the plot stands for: of what is counted, an even number; of bytes, a round one in their units.
  most(known) {
    const most = Math.max(0, ...known);
    if (this.spec.show === whole) return Math.max(2, 2 * Math.ceil(ceiling(most) / 2));
    const unit = this.spec.show === bytes && most >= 1024 ? 1024 ** Math.floor(Math.log2(most) / 10) : 1;
    return unit * ceiling(most / unit);
  }

  summary(name, values) {
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return `${name}: nothing yet`;
    const [least, most] = [Math.min(...known), Math.max(...known)].map(this.spec.show);
    return `${name}: now ${this.spec.show(values[values.length - 1])}, least ${least}, most ${most}`;
  }

  // Shows the numbers of a point, and where it is if it is not the last.
  point(point, x) {
    for (const [at, [, get]] of this.spec.lines.entries()) {
      say(this.values[at], this.spec.show(point && !point.silent ? get(point) : null));
    }
    this.cursor.setAttribute('visibility', x === null ? 'hidden' : 'visible');
    if (x !== null) for (const end of ['x1', 'x2']) this.cursor.setAttribute(end, x.toFixed(1));
  }

  said(point) {
    const values = this.spec.lines.map(([name, get]) => `${name} ${this.spec.show(point.silent ? null : get(point))}`);
    return `${clock(point.time)}: ${values.join(', ')}`;
  }
}

// From nothing to this, in even steps.
function steps(most) {
  return { share: (value) => value / most, grid: [0, 0.5, 1], labels: [0, most / 2, most] };
}

// Times differ by powers of ten: from the one below the least to the one above the most.
function decades(known) {
  const least = Math.floor(Math.log10(Math.max(1e-7, Math.min(...known))) + 1e-9);
  const most = Math.max(least + 1, Math.ceil(Math.log10(Math.max(1e-7, ...known)) - 1e-9));
  const range = most - least;
  const grid = Array.from({ length: range + 1 }, (_, at) => at / range);
  const labels = [10 ** least, range % 2 === 0 ? 10 ** (least + range / 2) : null, 10 ** most];
  return { share: (value) => (Math.log10(Math.max(value, 1e-9)) - least) / range, grid, labels };
}

function path(xs, values, y) {
  let drawn = '';
  let goesOn = false;
  for (const [at, value] of values.entries()) {
    if (value !== null) {
      const place = `${xs[at].toFixed(1)} ${y(value).toFixed(1)}`;
      // A point alone is a dot.
      const alone = !goesOn && (values[at + 1] ?? null) === null;
      drawn += alone ? `M${place}h0.01` : `${goesOn ? 'L' : 'M'}${place}`;
    }
    goesOn = value !== null;
  }
  return drawn;
}

function area(xs, values, y) {
  let drawn = '';
  let from = null;
  for (const [at, value] of [...values, null].entries()) {
    if (value !== null) {
      drawn += `${from === null ? `M${xs[at].toFixed(1)} ${HEIGHT}L` : 'L'}${xs[at].toFixed(1)} ${y(value).toFixed(1)}`;
      from = from ?? at;
    } else if (from !== null) {
      drawn += `L${xs[at - 1].toFixed(1)} ${HEIGHT}Z`;
      from = null;
    }
  }
  return drawn;
}

// Which point of the past is looked at, in all plots at once.
class Cursor {
  constructor(history, shown, speak) {
    this.history = history;
    this.shown = shown;
    this.speak = speak;
    this.at = null;
    this.now = 0;
    this.plots = PLOTS.map((spec) => new Plot(spec, this));
  }

  draw(now) {
    this.now = now;
    for (const plot of this.plots) plot.draw(this.history.points, now);
    this.show();
  }

  nearest(at) {
    const { points } = this.history;
    return points.reduce((best, point) =>
      (best === null || Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best), null);
  }

  show() {
    const { points } = this.history;
    const point = this.at === null ? points[points.length - 1] ?? null : this.nearest(this.at);
    const x = this.at === null || point === null ? null : WIDTH * (1 - (this.now - point.at) / HISTORY_MILLIS);
    for (const plot of this.plots) plot.point(point, x);
    say(this.shown, x === null ? '' : `at ${clock(point.time)}, ${time((this.now - point.at) / 1000)} ago`);
  }

  toShare(share) {
    this.at = this.now - HISTORY_MILLIS * (1 - share);
    this.show();
  }

  leave() {
    this.at = null;
    this.show();
  }

  onKey(key, plot) {
    const { points } = this.history;
    if (points.length === 0) return false;
    const here = this.at === null ? points.length - 1 : points.indexOf(this.nearest(this.at));
    const steps = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: points.length - 1 };
    if (key === 'Escape') {
      this.leave();
      return true;
    }
    if (!Object.hasOwn(steps, key)) return false;
    const point = points[Math.min(points.length - 1, Math.max(0, steps[key]))];
    this.at = point.at;
    this.show();
    this.speak(plot.said(point));
    return true;
  }
}
