
'use strict';

// What a scrape says, and what happened between two: as sluicegate top reads and reckons it. Nothing here knows the page.

const CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'];
// Buckets of a histogram that are kept; more than any of the gateway's has.
const BUCKETS_MAX = 64;

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = new Map([['\\n', '\n'], ['\\"', '"'], ['\\\\', '\\']]);

function labels(text) {
  const found = new Map();
  for (const [, name, value] of (text || '').matchAll(LABEL)) {
    found.set(name, value.replace(/\\./g, (escape) => ESCAPES.get(escape) ?? escape));
  }
  return (name) => found.get(name) ?? '';
}

function newProvider() {
  return {
    classes: new Map(CLASSES.map((name) => [name, 0])), errors: new Map(), timings: new Map(),
    received: 0, sent: 0, gone: 0, broken: 0, idle: 0, busy: 0, connects: 0, kept: null, known: null,
    instances: 0, serving: 0, drained: 0, keys: 0, resting: 0, waiting: 0, loads: new Map(), limits: new Map(),
  };
}

function newSnapshot() {
  return {
    version: '', started: 0, cpu: null, resident: 0, files: null, filesMax: null, inFlight: 0, clients: 0, panics: 0,
    lost: 0, tlsFailures: 0, reloaded: 1, reloadedAt: null, certificates: [], workers: new Map(), errors: new Map(),
    keys: new Map(), providers: new Map(),
  };
}

// Gauges and counters with one series.
const PLAIN = new Map([
  ['process_start_time_seconds', 'started'], ['process_cpu_seconds_total', 'cpu'],
  ['process_resident_memory_bytes', 'resident'], ['process_open_fds', 'files'], ['process_max_fds', 'filesMax'],
  ['sluicegate_requests_in_flight', 'inFlight'], ['sluicegate_client_connections_open', 'clients'],
  ['sluicegate_panics_total', 'panics'], ['sluicegate_log_lines_lost_total', 'lost'],
  ['sluicegate_client_tls_failures_total', 'tlsFailures'],
  ['sluicegate_config_last_reload_successful', 'reloaded'],
  ['sluicegate_config_last_reload_success_timestamp_seconds', 'reloadedAt'],
]);
// What a provider has; series that differ in what is not shown are added up.
const OF_PROVIDER = new Map([
  ['sluicegate_request_body_bytes_total', 'received'], ['sluicegate_response_body_bytes_total', 'sent'],
  ['sluicegate_clients_gone_total', 'gone'], ['sluicegate_truncated_responses_total', 'broken'],
  ['sluicegate_upstream_connects_total', 'connects'], ['sluicegate_upstream_idle_oldest_seconds', 'kept'],
  ['sluicegate_upstream_addresses_age_seconds', 'known'],
]);
const TIMINGS = new Map([
  ['sluicegate_response_overhead_seconds_bucket', 'response'], ['sluicegate_waited_seconds_bucket', 'waited'],
  ['sluicegate_upstream_head_seconds_bucket', 'head'], ['sluicegate_stream_longest_gap_seconds_bucket', 'gap'],
]);

function timingOf(name, label) {
  if (name === 'sluicegate_request_overhead_seconds_bucket') {
    return label('connection') === 'pooled' ? 'request' : null;
  }
  return TIMINGS.get(name) ?? null;
}

function takeProvider(provider, name, label, value) {
  const field = OF_PROVIDER.get(name);
  const timing = timingOf(name, label);
  if (field) {
    provider[field] = (provider[field] ?? 0) + value;
  } else if (name === 'sluicegate_requests_total' && provider.classes.has(label('class'))) {
    provider.classes.set(label('class'), provider.classes.get(label('class')) + value);
  } else if (name === 'sluicegate_provider_errors_total') {
    provider.errors.set(label('code'), value);
  } else if (name === 'sluicegate_upstream_connections') {
    provider[label('state') === 'idle' ? 'idle' : 'busy'] += value;
  } else if (name === 'sluicegate_upstream_instance_state') {
    provider.instances += 1;
    provider.serving += value > 0 ? 1 : 0;
  } else if (name === 'sluicegate_upstream_instance_requests_in_flight') {
    provider.loads.set(label('instance'), value);
  } else if (name === 'sluicegate_upstream_instance_limit') {
    provider.limits.set(label('instance'), value);
  } else if (name === 'sluicegate_upstream_instance_drained') {
    provider.drained += value > 0 ? 1 : 0;
  } else if (name === 'sluicegate_upstream_key_rest_seconds') {
    provider.keys += 1;
    provider.resting += value > 0 ? 1 : 0;
  } else if (name === 'sluicegate_upstream_queue_requests') {
    provider.waiting += label('state') === 'waiting' ? value : 0;
  } else if (timing) {
    const bound = label('le') === '+Inf' ? Infinity : Number(label('le'));
    const buckets = provider.timings.get(timing) ?? new Map();
    if (bound >= 0 && (buckets.has(bound) || buckets.size < BUCKETS_MAX)) {
      buckets.set(bound, (buckets.get(bound) ?? 0) + value);
      provider.timings.set(timing, buckets);
    }
  }
}

// What a text says; null if it is none of a gateway's.
function readMetrics(text) {
  const snapshot = newSnapshot();
  for (const line of text.split('\n')) {
    const sample = line.startsWith('#') ? null : SAMPLE.exec(line);
    const value = sample ? Number(sample[3]) : NaN;
    if (!Number.isFinite(value)) continue;
    const [, name, written] = sample;
    const label = labels(written);
    const plain = PLAIN.get(name);
    if (plain) snapshot[plain] = value;
    else if (name === 'sluicegate_build_info') snapshot.version = label('version');
    else if (name === 'sluicegate_worker_requests_in_flight') snapshot.workers.set(label('worker'), value);
    else if (name === 'sluicegate_gateway_errors_total') snapshot.errors.set(label('code'), value);
    else if (name === 'sluicegate_key_requests_total') snapshot.keys.set(label('key'), value);
    else if (name === 'sluicegate_certificate_expiry_seconds') {
      snapshot.certificates.push({ provider: label('provider'), seconds: value });
    } else if (label('provider') !== '') {
      const known = snapshot.providers.get(label('provider')) ?? newProvider();
      snapshot.providers.set(label('provider'), known);
      takeProvider(known, name, label, value);
    }
  }
  return snapshot.version === '' ? null : snapshot;
}

function total(map) {
  let sum = 0;
  for (const value of map.values()) sum += value;
  return sum;
}

function requestsOf(snapshot) {
  let sum = 0;
  for (const provider of snapshot.providers.values()) sum += total(provider.classes);
  return sum;
}

// Whether another process has begun to count. Where the system does not say when it was started, counts that fell do.
function isAnew(before, now) {
  return before.started !== now.started || requestsOf(now) < requestsOf(before);
}

// Counts by bound, sorted, of times since an earlier histogram. What has been counted never becomes less.
function since(now, before) {
  const bounds = [...(now ?? new Map()).keys()].sort((a, b) => a - b);
  return bounds.map((bound) => [bound, Math.max(0, now.get(bound) - (before?.get(bound) ?? 0))]);
}

// Histograms of several providers, added up.
function merged(histograms) {
  const sums = new Map();
  for (const histogram of histograms) {
    for (const [bound, count] of histogram) sums.set(bound, (sums.get(bound) ?? 0) + count);
  }
  return [...sums].sort(([a], [b]) => a - b);
}

// The time in seconds that this part of all times did not exceed: evenly spread between a bucket's bounds, beyond the last
// bound that bound. null without times.
function quantile(histogram, part) {
  const count = histogram.length > 0 ? histogram[histogram.length - 1][1] : 0;
  if (count <= 0) return null;
  const rank = part * count;
  let low = 0;
  let below = 0;
  for (const [bound, upTo] of histogram) {
    if (upTo >= rank && upTo > below) {
      return Number.isFinite(bound) ? low + (bound - low) * Math.max(0, rank - below) / (upTo - below) : low;
    }
    low = bound;
    below = Math.max(upTo, below);
  }
  return null;
}

function rate(before, now, seconds) {
  return seconds > 0 ? Math.max(0, now - before) / seconds : 0;
}

// What happened to a provider between two snapshots.
function providerFigures(name, now, before, seconds) {
  const of = (get) => rate(before ? get(before) : 0, get(now), seconds);
  const times = (timing) => since(now.timings.get(timing), before?.timings.get(timing));
  const failed = [...now.errors].map(([code, sum]) => [code, rate(before?.errors.get(code) ?? 0, sum, seconds)]);
  return {
    name, now, times,
    requests: of((p) => total(p.classes)), e4: of((p) => p.classes.get('4xx')), e5: of((p) => p.classes.get('5xx')),
    received: of((p) => p.received), sent: of((p) => p.sent), gone: of((p) => p.gone), broken: of((p) => p.broken),
    connects: of((p) => p.connects),
    errors: failed.filter(([, per]) => per > 0).sort(([, a], [, b]) => b - a),
  };
}

// What happened between two snapshots, so many seconds apart.
function figuresBetween(before, now, seconds) {
  const providers = [...now.providers].map(([name, provider]) =>
    providerFigures(name, provider, before.providers.get(name), seconds));
  const sum = (get) => providers.reduce((all, provider) => all + get(provider), 0);
  const times = (timing) => merged(providers.map((provider) => provider.times(timing)));
  const each = (map, earlier) => new Map([...map].map(([name, sum]) =>
    [name, rate(earlier.get(name) ?? 0, sum, seconds)]));
  return {
    providers, seconds, times,
    requests: sum((p) => p.requests), e4: sum((p) => p.e4), e5: sum((p) => p.e5), received: sum((p) => p.received),
    sent: sum((p) => p.sent), gone: sum((p) => p.gone), broken: sum((p) => p.broken),
    idle: sum((p) => p.now.idle), busy: sum((p) => p.now.busy),
    cpu: now.cpu === null ? null : rate(before.cpu, now.cpu, seconds),
    errors: each(now.errors, before.errors), keys: each(now.keys, before.keys),
  };
}

// What is out of use on a provider's side, in words.
function missing({ instances, serving, drained, keys, resting, waiting, loads, limits }) {
  const said = [];
  const out = instances - serving - drained;
  if (out > 0) said.push(`${out} of ${instances} instances out`);
  if (drained > 0) said.push(`${drained} of ${instances} instances drained`);
  if (resting > 0) said.push(`${resting} of ${keys} keys rest`);
  const full = [...limits].filter(([instance, limit]) => loads.get(instance) >= limit).length;
  // To be full is what a limit is for, until somebody waits.
  if (waiting > 0 && full > 0) said.push(`${full} of ${instances} instances full`);
  if (waiting > 0) said.push(`${whole(waiting)} wait`);
  return said.join(', ');
}

// How a provider does: a sign, a word, how bad it is, and what is wrong.
function healthOf(provider) {
  const [sign, word, look, code] = answersOf(provider);
  const out = missing(provider.now);
  const none = provider.now.instances > 0 && provider.now.serving === 0;
  if (out === '') return [sign, word, look, code];
  const said = [code, out].filter((text) => text !== '').join(', ');
  return look === 'bad' || none ? ['\u25a0', none ? 'out' : word, 'bad', said] : ['\u25b2', word, 'warn', said];
}

function answersOf(provider) {
  const failing = provider.errors.reduce((sum, [, per]) => sum + per, 0);
  const bad = Math.max(provider.e5, failing) + provider.broken;
  const code = provider.errors.length > 0 ? provider.errors[0][0] : '';
  if (provider.requests === 0 && bad === 0) {
    return provider.now.busy > 0 ? ['\u25cf', 'busy', 'good', ''] : ['\u25cb', 'quiet', 'zero', ''];
  }
  if (bad === 0) return ['\u25cf', 'ok', 'good', ''];
  const share = provider.requests > 0 ? Math.min(1, bad / provider.requests) : 1;
  const shown = `${Math.max(1, Math.round(share * 100))}%`;
  return share < 0.5 ? ['\u25b2', `${shown} fail`, 'warn', code] : ['\u25a0', `${shown} fail`, 'bad', code];
}

const NONE = '\u2013';

// A number of things.
function whole(number) {
  if (number === null || number === undefined) return NONE;
  return number < 99950 ? String(Math.round(number)) : count(number);
}

// Three digits.
function count(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return NONE;
  if (number === 0) return '0';
  if (number < 0.01) return '<0.01';
  if (number < 9.95) return number.toFixed(number < 0.995 ? 2 : 1);
  if (number < 99950) return String(Math.round(number));
  return number < 9.995e6 ? `${Math.round(number / 1e3)}k` : `${(number / 1e6).toFixed(1)}M`;
}

function bytes(number) {
  if (number === null || number === undefined) return NONE;
  if (number < 1024) return String(Math.round(number));
  let unit = -1;
  let rest = number;
  while (rest >= 1023.5 && unit < 4) {
    rest /= 1024;
    unit += 1;
  }
  return rest.toFixed(rest < 9.95 ? 1 : 0) + 'KMGTP'[unit];
}

// A time given in seconds.
function time(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const two = (number) => number.toFixed(number < 9.95 ? 1 : 0);
  if (seconds < 0.0009995) return `${two(seconds * 1e6)}\u00b5s`;
  if (seconds < 0.9995) return `${two(seconds * 1e3)}ms`;
  if (seconds < 59.95) return `${two(seconds)}s`;
  const whole = Math.round(seconds);
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'm'], [1, 's']];
  const first = parts.findIndex(([size]) => whole >= size);
  const [[big, bigName], [small, smallName]] = parts.slice(first, first + 2);
  return `${Math.floor(whole / big)}${bigName}${String(Math.floor(whole % big / small)).padStart(2, '0')}${smallName}`;
}

function clock(millis) {
  const date = new Date(millis);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((n) => String(n).padStart(2, '0')).join(':');
}
