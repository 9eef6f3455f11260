
// Looks at the gateway again and again, and shows what it says.

const METRICS_BYTES_MAX = 32 << 20;
const PATIENCE_MILLIS = 5000;
// Tables are of this long: figures of a second jump about, and have few times to take a quantile of.
const WINDOW_MILLIS = 10000;

const byId = (id) => document.getElementById(id);

// Where the metrics and the list are, seen from here: this page is at the host's root, or where the gateway is mounted.
function places() {
  const { base, metrics } = document.documentElement.dataset;
  const { origin, pathname } = window.location;
  const root = base !== '' && pathname.endsWith(`${base}/`) ? '.' : `.${base}`;
  // Not by the document's own address: user and password in it are no part of one that a page may ask for.
  const at = (place) => new URL(root + place, origin + pathname).href;
  return { metrics: at(metrics), streams: at('/streams') };
}

class Trouble extends Error {}

async function get(place) {
  const asked = { cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(PATIENCE_MILLIS) };
  let answer;
  try {
    answer = await fetch(place, asked);
  } catch {
    throw new Trouble('The gateway cannot be reached');
  }
  if (answer.status === 401) throw new Trouble('The gateway asks for another key: load this page anew');
  if (answer.status !== 200) throw new Trouble(`The gateway answers with ${answer.status}`);
  if (Number(answer.headers.get('content-length')) > METRICS_BYTES_MAX) throw new Trouble('The answer is too long');
  const at = performance.now();
  const sent = Date.parse(answer.headers.get('date') ?? '');
  try {
    return { at, sent: Number.isNaN(sent) ? Date.now() : sent, text: await answer.text() };
  } catch {
    throw new Trouble('The answer broke off');
  }
}

// The list of requests under way; null where there is none.
async function getStreams(place) {
  try {
    const { text } = await get(place);
    const list = JSON.parse(text);
    return Array.isArray(list.streams) ? list : null;
  } catch {
    return null;
  }
}

class Page {
  constructor() {
    this.places = places();
    this.history = new History();
    // Snapshots of the last seconds, oldest first.
    this.window = [];
    this.trouble = null;
    this.lastSeen = null;
    this.paused = false;
    this.timer = null;
    this.cursor = new Cursor(this.history, byId('cursor'), (text) => this.speak(text));
    byId('plots').append(...this.cursor.plots.map((plot) => plot.root));
    const table = (id, columns, nothing) => new Table(byId(id), `${id}-title`, columns, nothing);
    this.providers = table('providers', PROVIDER_COLUMNS, 'No request has been counted yet.');
    this.streams = table('streams', STREAM_COLUMNS, 'Nothing is under way.');
    this.keys = table('keys', KEY_COLUMNS, 'No request with a key has been counted yet.');
    this.errors = table('errors', ERROR_COLUMNS, 'None.');
    this.facts = new Map();
    byId('metrics').href = this.places.metrics;
    byId('list').href = this.places.streams;
    byId('pause').addEventListener('click', () => this.pause());
    byId('interval').addEventListener('change', () => this.look());
    byId('controls').addEventListener('submit', (event) => event.preventDefault());
  }

  speak(text) {
    byId('said').textContent = text;
  }

  pause() {
    this.paused = !this.paused;
    const button = byId('pause');
    button.setAttribute('aria-pressed', String(this.paused));
    button.textContent = this.paused ? 'Go on' : 'Pause';
    this.state();
    if (!this.paused) this.look();
  }

  async look() {
    clearTimeout(this.timer);
    const turn = this.turn = (this.turn ?? 0) + 1;
    const began = performance.now();
    let seen = null;
    let trouble = null;
    try {
      const [metrics, streams] = await Promise.all([get(this.places.metrics), getStreams(this.places.streams)]);
      const snapshot = readMetrics(metrics.text);
      if (snapshot === null) throw new Trouble('These are no metrics of a sluicegate');
      seen = { ...metrics, text: null, snapshot, streams, time: Date.now() };
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      trouble = error.message;
    }
    // Another look has begun meanwhile, or nobody looks any more.
    if (turn !== this.turn || this.paused) return;
    if (seen !== null) this.take(seen);
    this.tell(trouble);
    const wait = Number(byId('interval').value) - (performance.now() - began);
    this.timer = setTimeout(() => this.look(), Math.max(100, wait));
  }

  take(seen) {
    const { window: past } = this;
    const last = past[past.length - 1];
    if (last && isAnew(last.snapshot, seen.snapshot)) {
      past.length = 0;
      this.history.push({ at: seen.at, time: seen.time, silent: true, anew: true });
      this.speak(`The gateway was started anew at ${clock(seen.time)}: counts begin again.`);
    } else if (last) {
      this.history.push(point(last, seen));
    }
    // The second oldest is old enough.
    while (past.length > 1 && seen.at - past[1].at >= WINDOW_MILLIS) past.shift();
    past.push(seen);
    this.lastSeen = seen;
    const before = past.length > 1 ? past[0] : null;
    const seconds = before === null ? 0 : (seen.at - before.at) / 1000;
    const figures = figuresBetween(before?.snapshot ?? seen.snapshot, seen.snapshot, seconds);
    this.show(seen, figures, before !== null);
  }

  // Says what is wrong, once; nothing where all is well.
  tell(trouble) {
    if (trouble !== null) this.history.push({ at: performance.now(), time: Date.now(), silent: true });
    this.cursor.draw(performance.now());
    if (trouble !== this.trouble) {
      this.trouble = trouble;
      const told = byId('trouble');
      told.hidden = trouble === null;
      const old = this.lastSeen === null ? '' : ` What is shown is of ${clock(this.lastSeen.time)}.`;
      told.textContent = trouble === null ? '' : `${trouble}, since ${clock(Date.now())}.${old}`;
      if (trouble === null) this.speak('The gateway answers again.');
      document.body.classList.toggle('stale', trouble !== null);
    }
    this.state();
  }

  state() {
    let state = ['\u25cf', 'running', 'good'];
    if (this.lastSeen === null) state = ['\u25cb', 'waiting for the first figures', ''];
    if (this.paused) state = ['\u2016', 'paused', 'warn'];
    if (this.trouble !== null) state = ['\u25a0', 'no figures', 'bad'];
    const node = byId('state');
    say(node.firstElementChild, state[0]);
    say(node.lastElementChild, state[1]);
    node.className = `state ${state[2]}`;
    say(byId('read'), this.lastSeen === null ? '' : `figures of ${clock(this.lastSeen.time)}`);
    document.title = `${this.trouble === null ? '' : '\u25a0 '}sluicegate ${window.location.host}`;
  }

  show(seen, figures, compared) {
    const { snapshot } = seen;
    say(byId('version'), snapshot.version);
    this.showFacts(seen, figures, compared);
    const providers = figures.providers.map((provider) => ({
      ...provider,
      health: provider.name === '-' ? ['', '', '', ''] : healthOf(provider),
    }));
    this.providers.fill(providers.sort((a, b) => (a.name === '-') - (b.name === '-') || (a.name < b.name ? -1 : 1)));
    this.showStreams(seen.streams);
    this.showKeys(seen, figures);
    this.showErrors(snapshot, figures);
  }

  fact(name, value, below, look) {
    let fact = this.facts.get(name);
    if (!fact) {
      const [text, small] = [element('span'), element('small')];
      byId('facts').append(element('div', {}, element('dt', {}, name), element('dd', {}, text, small)));
      fact = { text, small };
      this.facts.set(name, fact);
    }
    say(fact.text, value);
    fact.text.className = look ?? '';
    say(fact.small, below);
  }

  showFacts({ snapshot, sent, streams }, figures, compared) {
    const per = (number) => (compared ? count(number) : NONE);
    const added = (timing, part) => time(quantile(figures.times(timing), part));
    const own = total(figures.errors);
    const workers = [...snapshot.workers].sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1));
    this.fact('Requests/s', per(figures.requests), compared ? `${count(figures.e4)} 4xx, ${count(figures.e5)} 5xx` : '');
    this.fact('Under way', whole(snapshot.inFlight), `workers ${workers.map(([, n]) => n).slice(0, 8).join(' ')}${
      workers.length > 8 ? ' \u2026' : ''}`);
    this.fact('Added to requests', added('request', 0.5), `p99 ${added('request', 0.99)}`);
    this.fact('Added to responses', added('response', 0.5), `p99 ${added('response', 0.99)}`);
    this.fact('Errors/s', per(own + figures.broken), `${per(figures.broken)} cut, ${per(figures.gone)} left`,
      own + figures.broken > 0 ? 'bad' : '');
    this.fact('Out/s', compared ? bytes(figures.sent) : NONE, compared ? `in ${bytes(figures.received)}/s` : '');
    this.fact('Clients', whole(snapshot.clients), `TLS failures ${whole(snapshot.tlsFailures)}`);
    this.fact('CPU', compared && figures.cpu !== null ? `${Math.round(figures.cpu * 100)}%` : NONE, 'of one core');
    this.fact('Memory', bytes(snapshot.resident), snapshot.filesMax === null
      ? '' : `files ${whole(snapshot.files)} of ${whole(snapshot.filesMax)}`);
    const up = snapshot.started > 0 ? time(Math.max(0, sent / 1000 - snapshot.started)) : NONE;
    this.fact('Up', up, this.configuration(snapshot));
    this.certificates(snapshot, sent);
    const defects = snapshot.panics + snapshot.lost;
    if (defects > 0 || this.facts.has('Defects')) {
      this.fact('Defects', whole(defects), `log lines lost ${whole(snapshot.lost)}, panics ${whole(snapshot.panics)}`, 'bad');
    }
  }

  configuration({ reloaded, reloadedAt }) {
    if (reloaded !== 1) return '\u25b2 last reload failed';
    return reloadedAt ? `configured ${clock(reloadedAt * 1000)}` : '';
  }

  certificates({ certificates }, sent) {
    if (certificates.length === 0) return;
    const first = certificates.reduce((a, b) => (b.seconds < a.seconds ? b : a));
    const days = (first.seconds - sent / 1000) / 86400;
    const whose = first.provider === '' ? 'shown to clients' : `for ${first.provider}`;
    const [text, look] = days <= 0 ? ['\u25a0 ended', 'bad'] : [`${Math.floor(days)} days`, days < 14 ? 'warn' : ''];
    this.fact('Certificate', text, whose, look);
  }

  showStreams(list) {
    const listed = list?.streams ?? [];
    const shown = Math.min(listed.length, ROWS_MAX);
    const parts = [];
    if (list === null) parts.push('the list cannot be had');
    else {
      parts.push(String(list.in_flight));
      if (shown < list.in_flight) parts.push(`the ${shown} oldest are listed`);
      if (list.silent_workers > 0) parts.push(`${list.silent_workers} workers silent`);
    }
    say(byId('streams-note'), parts.join(', '));
    this.streams.fill(listed);
  }

  showKeys({ snapshot, streams }, figures) {
    const inFlight = new Map();
    for (const { key } of streams?.streams ?? []) if (key) inFlight.set(key, (inFlight.get(key) ?? 0) + 1);
    const names = new Set([...snapshot.keys.keys(), ...inFlight.keys()]);
    const all = total(figures.keys);
    const rows = [...names].map((name) => {
      const per = figures.keys.get(name) ?? 0;
      return { name, per, share: all > 0 ? per / all : 0, inFlight: inFlight.get(name) ?? 0, sum: snapshot.keys.get(name) ?? 0 };
    });
    this.keys.fill(rows.sort((a, b) => b.per - a.per || b.sum - a.sum || (a.name < b.name ? -1 : 1)));
  }

  showErrors(snapshot, figures) {
    const rows = [...snapshot.errors].filter(([, sum]) => sum > 0).map(([code, sum]) => {
      const of = [...snapshot.providers].map(([name, provider]) => [name, provider.errors.get(code) ?? 0]);
      const named = of.filter(([name, n]) => n > 0 && name !== '-').sort(([, a], [, b]) => b - a);
      const more = named.length > 4 ? ` and ${named.length - 4} more` : '';
      const providers = named.slice(0, 4).map(([name, n]) => `${name} ${whole(n)}`).join(', ') + more;
      return { code, sum, per: figures.errors.get(code) ?? 0, providers };
    });
    this.errors.fill(rows.sort((a, b) => b.per - a.per || b.sum - a.sum));
  }
}

// A point of the plots: what happened between two looks.
function point(last, seen) {
  const figures = figuresBetween(last.snapshot, seen.snapshot, (seen.at - last.at) / 1000);
  const of = (timing, part) => quantile(figures.times(timing), part);
  return {
    at: seen.at, time: seen.time, requests: figures.requests, e4: figures.e4, e5: figures.e5,
    request50: of('request', 0.5), request99: of('request', 0.99),
    response50: of('response', 0.5), response99: of('response', 0.99),
    head50: of('head', 0.5), head99: of('head', 0.99), gap50: of('gap', 0.5), gap99: of('gap', 0.99),
    errors: total(figures.errors), broken: figures.broken, gone: figures.gone,
    clients: seen.snapshot.clients, busy: figures.busy, idle: figures.idle, inFlight: seen.snapshot.inFlight,
    sent: figures.sent, received: figures.received,
  };
}

new Page().look();
