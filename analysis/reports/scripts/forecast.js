// Forecasts in the page: rlscale.analysis.forecast and what it rests on, with the same names.
//
// Python hands over the fit, its points and its draws, and the few numbers that are drawn or refitted there
// (rlscale.analysis.reports.calculator). Everything else is computed here, as the functions of these names do.

// -- rlscale.analysis.statistics --------------------------------------------------

/** Positions that put the values in ascending order, ties as they come. */
function argsort(values) {
  return Uint32Array.from(values, (_, i) => i).sort((i, j) => values[i] - values[j] || i - j);
}

/** How many of the ascending values are below one. */
function searchsorted(values, wanted) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Straight lines through (x, y), level beyond both ends. */
function interp(wanted, x, y) {
  const last = x.length - 1;
  if (!(wanted > x[0])) return y[0];
  if (wanted >= x[last]) return y[last];
  const right = searchsorted(x, wanted);
  const share = (wanted - x[right - 1]) / (x[right] - x[right - 1]);
  return y[right - 1] + share * (y[right] - y[right - 1]);
}

/** Quantile at i/(n + 1) of ascending values. */
function quantile_weibull(sorted, share) {
  const place = Math.min(Math.max(share * (sorted.length + 1) - 1, 0), sorted.length - 1);
  const left = Math.floor(place);
  const right = Math.min(left + 1, sorted.length - 1);
  return sorted[left] + (place - left) * (sorted[right] - sorted[left]);
}

/** The central share of draws. */
function interval_of(values, level) {
  const sorted = Float64Array.from(values).sort();
  return [quantile_weibull(sorted, (1 - level) / 2), quantile_weibull(sorted, (1 + level) / 2)];
}

function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

// -- rlscale.analysis.fit.monotone_map --------------------------------------------

class MonotoneMap {
  /** Knots, strictly increasing in both. */
  constructor(returns, log_intrinsic) {
    this.returns = returns;
    this.log_intrinsic = log_intrinsic;
  }

  /** Weighted isotonic regression of return on log I: a knot for each of its levels. */
  static from_points(returns, log_intrinsic, weight) {
    const level = []; // weighted mean return of each block
    const place = []; // weighted mean log I of each block
    const mass = [];
    for (const i of argsort(log_intrinsic)) {
      let [r, x, w] = [returns[i], log_intrinsic[i], weight[i]];
      while (level.length && level[level.length - 1] >= r) {
        const before = mass.pop();
        r = (before * level.pop() + w * r) / (before + w);
        x = (before * place.pop() + w * x) / (before + w);
        w += before;
      }
      level.push(r);
      place.push(x);
      mass.push(w);
    }
    const kept = level.map((_, i) => i).filter(
      (i) => i === 0 || (place[i] > place[i - 1] && level[i] > level[i - 1]),
    );
    return new MonotoneMap(kept.map((i) => level[i]), kept.map((i) => place[i]));
  }

  log_intrinsic_of(value) {
    return interp(value, this.returns, this.log_intrinsic);
  }

  /** Return for log I, or null where the map would have to be extrapolated. */
  known_return_of_log(log_i) {
    const knots = this.log_intrinsic;
    if (log_i < knots[0] || log_i > knots[knots.length - 1]) return null;
    return interp(log_i, knots, this.returns);
  }
}

// -- rlscale.analysis.forecast.extended_map ---------------------------------------

const TAIL = 0.35; // share of the map's range through which its continuation is drawn
const RATES = Array.from({ length: 76 }, (_, i) => Math.round(2 * i) / 100);
const STRAIGHT = [0];
const BELOW = 0.25;
const BINS = 16;
const MIN_FAILURE = 1e-6;

function rise(d, rate) {
  return rate > 0 ? -Math.expm1(-rate * d) / rate : d;
}

function scaled(value, scale) {
  return scale === "failure" ? -Math.log(Math.max(1 - value, MIN_FAILURE)) : value;
}

function unscaled(value, scale) {
  return scale === "failure" ? 1 - Math.exp(-value) : value;
}

/** Whether returns may be shares of success. */
function are_shares(returns) {
  return returns.every((value) => value >= 0 && value < 1);
}

class Tail {
  constructor(end, level, slope, rate = 0) {
    Object.assign(this, { end, level, slope, rate });
  }

  at(log_i) {
    return this.level + this.slope * rise(log_i - this.end, this.rate);
  }

  /** Least-squares curve through averages of the points between two log I, stated at `end`. */
  static through(log_i, returns, weight, scale, [low, high], end, rates) {
    const mass = new Float64Array(BINS);
    const total_i = new Float64Array(BINS);
    const total_r = new Float64Array(BINS);
    for (let i = 0; i < log_i.length; i++) {
      if (log_i[i] < low || log_i[i] > high) continue;
      const share = (log_i[i] - low) / Math.max(high - low, 1e-300);
      const bin = Math.min(Math.floor(share * BINS), BINS - 1);
      mass[bin] += weight[i];
      total_i[bin] += weight[i] * log_i[i];
      total_r[bin] += weight[i] * returns[i];
    }
    const used = Array.from(mass.keys()).filter((bin) => mass[bin] > 0);
    if (!used.length) {
      let nearest = 0;
      for (let i = 1; i < log_i.length; i++) {
        if (Math.abs(log_i[i] - end) < Math.abs(log_i[nearest] - end)) nearest = i;
      }
      return new Tail(end, scaled(returns[nearest], scale), 0);
    }
    const whole = sum(mass);
    const w = used.map((bin) => mass[bin] / whole);
    const x = used.map((bin) => total_i[bin] / mass[bin] - end);
    const z = used.map((bin) => scaled(total_r[bin] / mass[bin], scale));
    const mean_z = sum(w.map((share, i) => share * z[i]));
    let best = null;
    for (const rate of rates) {
      const risen = x.map((d) => rise(d, rate));
      const middle = sum(w.map((share, i) => share * risen[i]));
      const spread = sum(w.map((share, i) => share * (risen[i] - middle) ** 2));
      const together = sum(w.map((share, i) => share * (risen[i] - middle) * (z[i] - mean_z)));
      const slope = spread > 1e-12 ? Math.max(together / spread, 0) : 0;
      const left = sum(w.map((share, i) => share * (z[i] - mean_z - slope * (risen[i] - middle)) ** 2));
      if (best === null || left < best.left) best = { left, middle, slope, rate };
    }
    return new Tail(end, mean_z - best.slope * best.middle, best.slope, best.rate);
  }
}

class ExtendedMap {
  /** Isotonic regression of return on log I with its continuations; the scale as Python chose it. */
  constructor(log_i, returns, weight, { tail = TAIL, rates = RATES, scale }) {
    const inside = MonotoneMap.from_points(returns, log_i, weight);
    const low = Math.min(...log_i);
    const high = Math.max(...log_i);
    const first = inside.log_intrinsic[0];
    const last = inside.log_intrinsic[inside.log_intrinsic.length - 1];
    const stretch = (a, b, end, which) => Tail.through(log_i, returns, weight, scale, [a, b], end, which);
    this.scale = scale;
    this.below = stretch(low, low + BELOW * (high - low), first, STRAIGHT);
    this.above = stretch(high - tail * (high - low), high, last, rates);
    const bottom = unscaled(this.below.level, scale);
    const top = Math.max(unscaled(this.above.level, scale), bottom);
    const clipped = inside.returns.map((value) => Math.min(Math.max(value, bottom), top));
    this.inside = new MonotoneMap(clipped, inside.log_intrinsic);
    this.floor = scaled(Math.min(Math.min(...returns), bottom), scale);
    this.shares = are_shares(returns);
  }

  return_of(log_i) {
    if (log_i < this.below.end) return unscaled(Math.max(this.below.at(log_i), this.floor), this.scale);
    if (log_i > this.above.end) return unscaled(this.above.at(log_i), this.scale);
    return interp(log_i, this.inside.log_intrinsic, this.inside.returns);
  }

  bounded(value) {
    return this.shares ? Math.min(Math.max(value, 0), 1) : value;
  }
}

// -- rlscale.analysis.forecast.next_to_measured -----------------------------------

const WINDOW = 0.3;
const FADES = 1.5;
const SAME = 1e-9;
const LEAST_SHARED = 2 / 3;

/** Measured points, ordered by size, then E; arrays of one length. */
class BinnedPoints {
  constructor({ log_n, log_e, returns, weight }) {
    Object.assign(this, { log_n, log_e, returns, weight });
    this.first = []; // of each size
    log_n.forEach((value, i) => {
      if (i === 0 || value !== log_n[i - 1]) this.first.push(i);
    });
    this.sizes = this.first.map((i) => log_n[i]);
    this.rows = this.first.map((start, s) => [start, this.first[s + 1] ?? log_n.length]);
  }
}

/** Position of the nearest of the ascending log sizes. */
function nearest(sizes, log_n) {
  let best = 0;
  sizes.forEach((size, s) => {
    if (Math.abs(log_n - size) < Math.abs(log_n - sizes[best])) best = s;
  });
  return best;
}

/** Weighted mean of the values within half a window of each x, ascending. */
function smoothed(x, values, weight) {
  const mass = [0];
  const total = [0];
  values.forEach((value, i) => {
    mass.push(mass[i] + weight[i]);
    total.push(total[i] + weight[i] * value);
  });
  return Array.from(x, (at) => {
    const first = searchsorted(x, at - WINDOW / 2 - SAME);
    const stop = searchsorted(x, at + WINDOW / 2 + SAME);
    return (total[stop] - total[first]) / (mass[stop] - mass[first]);
  });
}

class NextToMeasured {
  /** A law with its map, corrected by the residuals of measured sizes. */
  constructor(law, points, options) {
    this.law = law;
    this.points = points;
    this.log_i = Float64Array.from(points.log_n, (log_n, i) => law.log_intrinsic(log_n, points.log_e[i]));
    this.map = new ExtendedMap(this.log_i, points.returns, points.weight, options);
    this.curves = points.rows.map(([start, stop]) => {
      const x = points.log_e.slice(start, stop);
      const residual = Array.from(x, (_, i) => points.returns[start + i] - this.map.return_of(this.log_i[start + i]));
      return { x, r: smoothed(x, residual, points.weight.slice(start, stop)) };
    });
    this.shared = this._shared();
    const { sizes } = points;
    this.step = (sizes[sizes.length - 1] - sizes[0]) / (sizes.length - 1);
  }

  _shared() {
    let product = 0;
    let square = 0;
    for (let s = 1; s < this.curves.length; s++) {
      const { x, r } = this.curves[s - 1];
      const own = this.curves[s];
      own.x.forEach((at, i) => {
        if (at < x[0] || at > x[x.length - 1]) return;
        const smaller = interp(at, x, r);
        product += smaller * own.r[i];
        square += smaller * smaller;
      });
    }
    return square > 0 ? Math.min(Math.max(product / square, LEAST_SHARED), 1) : 1;
  }

  predict(log_n, log_e) {
    return this.map.bounded(this.corrected(log_n, log_e, nearest(this.points.sizes, log_n)));
  }

  /** Return at (N, E) with the residual of a chosen size, read `lag` of log E earlier. */
  corrected(log_n, log_e, neighbour, lag = 0) {
    const { x, r } = this.curves[neighbour];
    const read = Math.min(Math.max(log_e - lag, x[0]), x[x.length - 1]);
    const distance = Math.abs(log_n - this.points.sizes[neighbour]) / this.step;
    const faded = Math.exp(-Math.abs(log_e - read) / FADES) * this.shared ** distance;
    return this.map.return_of(this.law.log_intrinsic(log_n, log_e)) + faded * interp(read, x, r);
  }
}

// -- rlscale.analysis.forecast.rolling_origin -------------------------------------

const NEARLY = Math.log(1.05);
const NEAR_IN_REACH = 0.2;
const LEAST_NEAR = 12;

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

function nearest_in_reach(reach, errors, wanted) {
  const count = Math.min(Math.max(Math.floor(NEAR_IN_REACH * reach.length), LEAST_NEAR), reach.length);
  const chosen = Array.from(argsort(Array.from(reach, (x) => Math.abs(x - wanted))).slice(0, count));
  const factor = Math.max(wanted / median(chosen.map((i) => reach[i])), 1);
  return chosen.map((i) => errors[i] * factor);
}

function as_far(distance, errors, wanted) {
  let near = distance[0];
  for (const one of distance) if (Math.abs(one - wanted) < Math.abs(near - wanted)) near = one;
  const factor = Math.max(wanted / near, 1);
  const close = (one) => Math.abs(one - near) <= 1e-8 + 1e-5 * Math.abs(near);
  return Array.from(errors).filter((_, i) => close(distance[i])).map((error) => error * factor);
}

/** Errors of predictions from earlier ends of the data, as Python refitted them. */
class RollingOrigin {
  constructor(points, { beyond_compute, beyond_sizes, widening, tested }, level) {
    const log_c = Float64Array.from(points.log_n, (log_n, i) => log_n + points.log_e[i]);
    this.top = Math.max(...log_c);
    this.span = Math.max(this.top - Math.min(...log_c), 1e-300);
    this.largest = points.sizes[points.sizes.length - 1];
    Object.assign(this, { beyond_compute, beyond_sizes, widening, tested, level });
  }

  /** Median |measured - predicted| as far beyond a cut as (N, E) beyond the points; null within. */
  typical_miss(log_n, log_e) {
    const missed = this.misses_later(log_n, log_e);
    return missed.length ? median(missed) / this.widening : null;
  }

  half_width(log_n, log_e) {
    return Math.max(this._held(this.misses_later(log_n, log_e)), this._held(this.misses_larger(log_n)));
  }

  misses_later(log_n, log_e) {
    const [reaches, errors] = this.beyond_compute;
    const reach = (log_n + log_e - this.top) / this.span;
    return reach <= 0 || !reaches.length ? [] : nearest_in_reach(reaches, errors, reach);
  }

  misses_larger(log_n) {
    const distance = log_n - this.largest;
    if (distance <= NEARLY) return [];
    return this.beyond_sizes.flatMap(([reaches, errors]) => as_far(reaches, errors, distance));
  }

  _held(errors) {
    return errors.length ? quantile_weibull(Float64Array.from(errors).sort(), this.level) : 0;
  }
}

// -- rlscale.analysis.forecast.prediction -----------------------------------------

const NEAR = 0.15;

class ReturnPredictor {
  constructor(law, draws, given, level) {
    const points = new BinnedPoints(given.points);
    const { scale } = given;
    this.level = level;
    this.points = points;
    this.centre = new NextToMeasured(law, points, { scale });
    this.draws = given.draws.map(({ draw, tail, straight }) => {
      const rates = straight ? STRAIGHT : RATES;
      return new NextToMeasured(draws[draw], points, { tail, rates, scale });
    });
    this.errors_taken = given.errors_taken; // which of the errors nearby each draw takes
    this.error_factor = given.error_factor;
    this.earlier_ends = new RollingOrigin(points, given.earlier_ends, level);
    this.between_sizes = this._errors((s) => (s > 0 ? s - 1 : Math.min(1, points.sizes.length - 1)), 0);
  }

  /** {estimate, interval} of the return at (N, E). */
  at(log_n, log_e) {
    const estimate = this.centre.predict(log_n, log_e);
    if (!this.draws.length) return { estimate, interval: null };
    const neighbour = nearest(this.points.sizes, log_n);
    const own = Math.abs(this.points.sizes[neighbour] - log_n) < SAME;
    const pool = own ? this._errors_later(log_e, neighbour) : this.between_sizes;
    const log_i = this.centre.law.log_intrinsic(log_n, log_e);
    const size = pool.errors.length;
    const near = Math.min(Math.max(Math.floor(NEAR * size), LEAST_NEAR), size);
    const first = Math.min(Math.max(searchsorted(pool.log_i, log_i) - (near >> 1), 0), size - near);
    const drawn = this.draws.map(
      (draw, i) => draw.predict(log_n, log_e) + this.error_factor * pool.errors[first + this.errors_taken[i]],
    );
    let [low, high] = interval_of(drawn, this.level);
    const missed = this.earlier_ends.half_width(log_n, log_e);
    if (missed > 0) {
      low = Math.min(low, estimate - missed);
      high = Math.max(high, estimate + missed);
    }
    return { estimate, interval: [this.centre.map.bounded(low), this.centre.map.bounded(high)] };
  }

  _errors_later(log_e, neighbour) {
    const { x } = this.centre.curves[neighbour];
    return this._errors((s) => s, Math.max(log_e - x[x.length - 1], 0));
  }

  /** Errors of the measured points, each predicted from a size beside it; ascending in log I. */
  _errors(neighbour_of, lag) {
    const { points, centre } = this;
    const errors = new Float64Array(points.log_n.length);
    points.rows.forEach(([start, stop], s) => {
      for (let i = start; i < stop; i++) {
        errors[i] = points.returns[i] - centre.corrected(points.log_n[i], points.log_e[i], neighbour_of(s), lag);
      }
    });
    const order = argsort(centre.log_i);
    return { log_i: Array.from(order, (i) => centre.log_i[i]), errors: Array.from(order, (i) => errors[i]) };
  }
}

// -- rlscale.analysis.forecast.budgets --------------------------------------------

const SECONDS = 3600;

/** Log FLOPs of training for an interaction: log-log between sizes, proportional to N beyond. */
function log_flops_per_interaction(known, log_n) {
  const knots = known.N.map(Math.log);
  const beyond = log_n - Math.min(Math.max(log_n, knots[0]), knots[knots.length - 1]);
  return interp(log_n, knots, known.flops.map(Math.log)) + beyond;
}

/** The compute whose optimum costs `flops` of training; null where the fit knows no FLOPs. */
function flops_budget(fit, flops, per_param_interaction = null) {
  if (per_param_interaction !== null) return flops / per_param_interaction;
  if (fit.interaction_flops === null) return null;
  const excess = (log_c) => {
    const log_n = fit.law.log_N_opt(log_c);
    return log_flops_per_interaction(fit.interaction_flops, log_n) + log_c - log_n - Math.log(flops);
  };
  let low = fit.law.log_c0;
  let high = low;
  while (excess(low) > 0) low -= 10;
  while (excess(high) < 0) high += 10;
  return Math.exp(low === high ? low : root(excess, low, high));
}

/** The compute that hours of a GPU buy, at its peak rate in FLOP/s and the share of it that training reaches. */
function gpu_hours_budget(fit, hours, gpu_flops, utilization, per_param_interaction = null) {
  return flops_budget(fit, hours * SECONDS * gpu_flops * utilization, per_param_interaction);
}

// -- rlscale.analysis.forecast.sizes and returns ----------------------------------

/** A fit as `rlscale fit --json` stores it, as far as forecasts need it. */
class Fit {
  constructor(given) {
    const law_of = ({ nu, k, N_opt_ref }, delay) =>
      PowerLaw.from_optimum(nu, k, Math.log(N_opt_ref), Math.log(given.compute_ref), delay);
    const delay = new Delay(given.delay.kind, given.delay.steps);
    const { draws } = given;
    this.range = given.range;
    this.level = given.level;
    this.law = law_of(given.law, delay);
    this.exclusion_laws = given.exclusion_fits.map((one) => law_of(one, delay));
    this.other_lines = given.other_lines.map(([nu, N_opt]) => (compute) => N_opt * (compute / given.compute_ref) ** nu);
    this.draw_laws = Array.from(draws.nu, (nu, i) => {
      const late = draws.delay.length ? new Delay(delay.kind, draws.delay[i]) : new Delay();
      return PowerLaw.from_optimum(nu, draws.k[i], draws.m[i], Math.log(given.compute_ref), late);
    });
    this.monotone_map = new MonotoneMap(given.monotone_map.returns, given.monotone_map.log_intrinsic);
    this.points = given.points;
    this.interaction_flops = given.interaction_flops;
    this._prediction = given.prediction;
  }

  /** Built when it is first asked for: it holds a map for each draw. */
  get predictor() {
    this._predictor ??= new ReturnPredictor(this.law, this.draw_laws, this._prediction, this.level);
    return this._predictor;
  }

  get drawn_maps() {
    this._drawn_maps ??= this.draw_laws.map((law) => {
      const { log_n, log_e, returns, weight } = this.points;
      const log_i = Float64Array.from(log_n, (n, i) => law.log_intrinsic(n, log_e[i]));
      return MonotoneMap.from_points(returns, log_i, weight);
    });
    return this._drawn_maps;
  }
}

/** Decades that a compute lies outside [low, high]; 0 inside. */
function decades_outside(compute, [low, high]) {
  return Math.max(Math.log10(compute / high), Math.log10(low / compute), 0);
}

/** What the law says for one compute: the fields of `rlscale forecast --json`. */
function forecast(fit, compute, env_cost = null) {
  const log_c = Math.log(compute);
  const log_n = fit.law.log_N_opt(log_c);
  const found = {
    compute,
    N_opt: Math.exp(log_n),
    E_opt: Math.exp(log_c - log_n),
    ...optimum_intervals(fit, compute),
    extrapolation: decades_outside(compute, fit.range.C),
    return: null,
    return_extrapolated: null,
    outside: {
      compute: decades_outside(compute, fit.range.C),
      size: decades_outside(Math.exp(log_n), fit.range.N),
      interactions: decades_outside(Math.exp(log_c - log_n), fit.range.E),
    },
    earlier_ends: earlier_ends(fit.predictor.earlier_ends, log_n, log_c - log_n),
  };
  with_return(fit, found, log_c, log_n);
  return env_cost === null ? found : { ...found, ...with_env_cost(fit, found, log_c, env_cost) };
}

/** What predictions of returns missed as far beyond earlier ends of the data; null within the data. */
function earlier_ends(ends, log_n, log_e) {
  const missed = ends.typical_miss(log_n, log_e);
  return missed === null ? null : { median_absolute: missed, tested_decades: ends.tested / Math.LN10 };
}

function optimum_intervals(fit, compute) {
  if (!fit.draw_laws.length) return { intervals: {}, intervals_total: {} };
  const log_c = Math.log(compute);
  const plain = interval_of(fit.draw_laws.map((law) => Math.exp(law.log_N_opt(log_c))), fit.level);
  const others = fit.exclusion_laws.map((law) => Math.exp(law.log_N_opt(log_c)));
  others.push(...plain, ...fit.other_lines.map((line) => line(compute)));
  const total = [Math.min(...others), Math.max(...others)];
  const ends = ([low, high]) => ({ N_opt: [low, high], E_opt: [compute / high, compute / low] });
  return { intervals: ends(plain), intervals_total: ends(total) };
}

function with_return(fit, found, log_c, log_n) {
  const { estimate, interval } = fit.predictor.at(log_n, log_c - log_n);
  const known = fit.monotone_map.known_return_of_log(fit.law.log_best_intrinsic(log_c));
  if (known === null) {
    found.return_extrapolated = { estimate, interval };
    return;
  }
  found.return = known;
  if (interval !== null) {
    found.intervals.return = [Math.min(interval[0], known), Math.max(interval[1], known)];
  }
}

function with_env_cost(fit, found, log_c, env_cost) {
  const log_i = fit.law.log_best_intrinsic(log_c);
  const { log_n, log_e } = fit.law.optimum_with_env_cost(log_i, env_cost);
  const drawn = fit.draw_laws.map((law) => {
    const reached = law.log_best_intrinsic(log_c);
    return { ...law.optimum_with_env_cost(reached, env_cost), overspend: law.env_cost_overspend(reached, env_cost) };
  });
  const between = (value) => interval_of(drawn.map(value), fit.level);
  const intervals = drawn.length
    ? {
        N_with_env_cost: between((one) => Math.exp(one.log_n)),
        E_with_env_cost: between((one) => Math.exp(one.log_e)),
        overspend: between((one) => one.overspend),
      }
    : {};
  return {
    env_cost,
    N_with_env_cost: Math.exp(log_n),
    E_with_env_cost: Math.exp(log_e),
    overspend: fit.law.env_cost_overspend(log_i, env_cost),
    intervals: { ...found.intervals, ...intervals },
  };
}

/** The optimum and the limits that reach a return; null where the fitted map does not know it. */
function at_return(fit, value) {
  const { returns } = fit.monotone_map;
  if (!(value >= returns[0] && value <= returns[returns.length - 1])) return null;
  const found = quantities(fit.law, fit.monotone_map.log_intrinsic_of(value));
  const drawn = fit.drawn_maps.map((map, i) => quantities(fit.draw_laws[i], map.log_intrinsic_of(value)));
  const intervals = {};
  for (const name of drawn.length ? Object.keys(found) : []) {
    intervals[name] = interval_of(drawn.map((one) => one[name]), fit.level);
  }
  return { return: value, ...found, intervals };
}

function quantities(law, log_i) {
  const log_c = law.log_least_compute(log_i);
  const log_n = law.log_N_opt(log_c);
  const E_opt = Math.exp(log_c - log_n);
  const E_inf = law.E_inf(log_i);
  return {
    intrinsic: Math.exp(log_i),
    N_opt: Math.exp(log_n),
    E_opt,
    E_inf,
    N_inf: law.N_inf(log_i),
    width_gain: law.delay.exists ? E_opt / E_inf : law.width_gain,
  };
}
