
// Tables whose rows are used again, so that whoever reads one is not thrown out of it. All they show is text.

const ROWS_MAX = 300;

// A column is { title, group, kind, show }: kind is how its cells look, show makes their text, or [text, class], of a row.
class Table {
  constructor(place, name, columns, nothing) {
    this.columns = columns;
    this.rows = [];
    this.body = element('tbody', { role: 'rowgroup' });
    this.nothing = element('p', { class: 'nothing' }, nothing);
    this.table = element('table', { role: 'table', 'aria-labelledby': name }, this.head(), this.body);
    const frame = element('div', { class: 'table' }, this.table, this.nothing);
    this.table.hidden = true;
    place.append(frame);
  }

  head() {
    const groups = element('tr', { role: 'row' });
    const titles = element('tr', { role: 'row' });
    let last = null;
    for (const column of this.columns) {
      const look = `${column.kind ?? ''}${column.group && column.group !== last?.name ? ' edge' : ''}`;
      const scope = { scope: 'col', role: 'columnheader', class: look };
      titles.append(element('th', scope, column.title));
      if (last !== null && column.group === last.name) {
        last.cell.colSpan += 1;
      } else {
        const cell = column.group
          ? element('th', { scope: 'colgroup', role: 'columnheader', class: look, colspan: 1 }, column.group)
          : element('td', { role: 'cell' });
        last = { name: column.group, cell };
        groups.append(cell);
      }
    }
    const grouped = this.columns.some((column) => column.group);
    return element('thead', { role: 'rowgroup' }, ...(grouped ? [groups, titles] : [titles]));
  }

  row() {
    let last = null;
    const cells = this.columns.map((column, at) => {
      const edge = column.group && column.group !== last ? ' edge' : '';
      last = column.group;
      const look = `${column.kind ?? ''}${edge}`;
      if (at === 0) return element('th', { scope: 'row', role: 'rowheader', class: look });
      const label = column.group ? `${column.group} ${column.title}` : column.title;
      return element('td', { role: 'cell', class: look, 'data-label': label.toLowerCase() });
    });
    return { root: element('tr', { role: 'row' }, ...cells), cells, looks: cells.map((cell) => cell.className) };
  }

  fill(rows) {
    const shown = rows.slice(0, ROWS_MAX);
    while (this.rows.length < shown.length) {
      this.rows.push(this.row());
      this.body.append(this.rows[this.rows.length - 1].root);
    }
    // Rows beyond those are taken out, so that the page is no larger than what it shows.
    while (this.rows.length > shown.length) this.rows.pop().root.remove();
    for (const [at, row] of shown.entries()) this.put(this.rows[at], row);
    this.table.hidden = shown.length === 0;
    this.nothing.hidden = shown.length > 0;
  }

  put(row, of) {
    for (const [at, column] of this.columns.entries()) {
      const made = column.show(of);
      const [text, look] = Array.isArray(made) ? made : [made, made === '0' || made === NONE ? 'zero' : ''];
      say(row.cells[at], text);
      const wanted = `${row.looks[at]} ${look}`.trim();
      if (row.cells[at].className !== wanted) row.cells[at].className = wanted;
    }
  }
}

function alarm(number, look) {
  return number > 0 ? [count(number), look] : ['0', 'zero'];
}

function stateOf([sign, word, , why]) {
  return `${sign} ${word}${why === '' ? '' : `: ${why}`}`.trim();
}

const PROVIDER_COLUMNS = [
  { title: 'Provider', kind: 'text', show: (p) => (p.name === '-' ? 'of no provider' : p.name) },
  { title: 'State', kind: 'text', show: (p) => [stateOf(p.health), p.health[2]] },
  { title: 'req/s', group: 'Requests', show: (p) => count(p.requests) },
  { title: '4xx/s', group: 'Requests', show: (p) => alarm(p.e4, 'warn') },
  { title: '5xx/s', group: 'Requests', show: (p) => alarm(p.e5, 'bad') },
  { title: 'cut/s', group: 'Requests', show: (p) => alarm(p.broken, 'bad') },
  { title: 'left/s', group: 'Requests', show: (p) => count(p.gone) },
  ...[['request', 'Added to request'], ['response', 'Added to response'], ['head', 'Time to head'], ['gap', 'Longest gap']]
    .flatMap(([timing, group]) => [[0.5, 'p50'], [0.99, 'p99']].map(([part, title]) =>
      ({ title, group, show: (p) => time(quantile(p.times(timing), part)) }))),
  { title: 'p99', group: 'Waited', show: (p) => time(quantile(p.times('waited'), 0.99)) },
  { title: 'idle', group: 'Connections', show: (p) => whole(p.now.idle) },
  { title: 'busy', group: 'Connections', show: (p) => whole(p.now.busy) },
  { title: 'new/s', group: 'Connections', show: (p) => count(p.connects) },
  { title: 'oldest', group: 'Connections', show: (p) => time(p.now.kept) },
  { title: 'in/s', group: 'Content', show: (p) => bytes(p.received) },
  { title: 'out/s', group: 'Content', show: (p) => bytes(p.sent) },
];

function statusLook(status) {
  if (status === null || status === undefined) return [NONE, 'zero'];
  return [String(status), status >= 500 ? 'bad' : status >= 400 ? 'warn' : ''];
}

const STREAM_COLUMNS = [
  { title: 'Age', show: (s) => time(s.age_us / 1e6) },
  { title: 'Phase', kind: 'text', show: (s) => String(s.phase) },
  { title: 'Quiet', show: (s) => (s.idle_us === null ? NONE : time(s.idle_us / 1e6)) },
  { title: 'Provider', kind: 'text', show: (s) => (s.provider === '-' ? NONE : String(s.provider)) },
  { title: 'Key', kind: 'text', show: (s) => String(s.key ?? NONE) },
  { title: 'Method', kind: 'text', show: (s) => String(s.method) },
  { title: 'Status', show: (s) => statusLook(s.status) },
  { title: 'In', show: (s) => bytes(s.bytes_in) },
  { title: 'Out', show: (s) => bytes(s.bytes_out) },
  { title: 'Path', kind: 'text wide bare', show: (s) => String(s.path ?? NONE) },
];

const KEY_COLUMNS = [
  { title: 'Key', kind: 'text', show: (k) => k.name },
  { title: 'req/s', show: (k) => count(k.per) },
  { title: 'share', show: (k) => `${Math.round(k.share * 100)}%` },
  { title: 'under way', show: (k) => whole(k.inFlight) },
  { title: 'since the start', show: (k) => whole(k.sum) },
];

const ERROR_COLUMNS = [
  { title: 'Code', kind: 'text', show: (e) => e.code },
  { title: 'a second', show: (e) => alarm(e.per, 'bad') },
  { title: 'since the start', show: (e) => whole(e.sum) },
  { title: 'of them by provider', kind: 'text', show: (e) => e.providers },
];
