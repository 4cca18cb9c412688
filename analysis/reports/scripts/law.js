// The law in the page: rlscale.analysis.theory, with the same names. Scalars in, scalars out.

// -- numerics ---------------------------------------------------------------------

/** Where an increasing function crosses 0 between two ends, to rounding. */
function root(f, low, high) {
  for (;;) {
    const middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) return middle;
    if (f(middle) < 0) low = middle;
    else high = middle;
  }
}

/** log(exp(a) + exp(b)). */
function logaddexp(a, b) {
  const most = Math.max(a, b);
  return most === -Infinity ? most : most + Math.log1p(Math.exp(-Math.abs(a - b)));
}

// -- rlscale.analysis.theory.delay ------------------------------------------------

const SMALL = 1e-3; // E/tau below which series are more accurate than differences of nearly equal numbers

class Delay {
  constructor(kind = "none", steps = 0) {
    this.kind = kind;
    this.steps = steps;
  }

  get exists() {
    return this.kind !== "none" && this.steps > 0;
  }

  log_counted(log_e) {
    if (!this.exists) return log_e;
    const ratio = Math.exp(log_e - Math.log(this.steps));
    if (this.kind === "sharp") return ratio > 1 ? log_e + Math.log1p(-1 / ratio) : -Infinity;
    const series = Math.log(0.5) + 2 * Math.log(ratio) + Math.log1p(-ratio / 3 + ratio ** 2 / 12);
    return Math.log(this.steps) + (ratio < SMALL ? series : Math.log(ratio + Math.expm1(-ratio)));
  }

  log_elapsed(log_counted) {
    if (!this.exists) return log_counted;
    if (this.kind === "sharp") return logaddexp(log_counted, Math.log(this.steps));
    const counted = Math.exp(log_counted - Math.log(this.steps));
    const start = Math.sqrt(2 * counted);
    if (start < SMALL) return Math.log(this.steps) + Math.log(start / (1 - start / 6));
    // E'/tau = x + exp(-x) - 1 lies between x - 1 and x.
    return Math.log(this.steps) + Math.log(root((x) => x + Math.expm1(-x) - counted, counted, counted + 1));
  }

  log_slope(log_e) {
    if (!this.exists) return 0;
    const ratio = Math.exp(log_e - Math.log(this.steps));
    if (this.kind === "sharp") return ratio > 1 ? -Math.log1p(-1 / ratio) : Infinity;
    if (ratio >= SMALL) return Math.log((-ratio * Math.expm1(-ratio)) / (ratio + Math.expm1(-ratio)));
    return (
      Math.log(2) + Math.log1p(-ratio / 2 + ratio ** 2 / 6) - Math.log1p(-ratio / 3 + ratio ** 2 / 12)
    );
  }
}

// -- rlscale.analysis.theory.power_law --------------------------------------------

class PowerLaw {
  constructor(nu, k, m, log_c0, delay) {
    Object.assign(this, { nu, k, m, log_c0, delay });
    this.alpha_N = k * (1 - nu);
    this.alpha_E = k * nu;
    this.beta = k * nu * (1 - nu);
    this.log_N_c = m - nu * log_c0 + Math.log(nu) / this.alpha_N;
    this.log_E_c = nu * log_c0 - m + Math.log1p(-nu) / this.alpha_E;
  }

  static from_optimum(nu, k, log_n, log_c0, delay) {
    if (!delay.exists) return new PowerLaw(nu, k, log_n, log_c0, delay);
    const log_e = log_c0 - log_n;
    const shift = nu * (log_c0 - delay.log_counted(log_e)) + delay.log_slope(log_e) / k;
    return new PowerLaw(nu, k, (1 - nu) * log_n + shift, log_c0, delay);
  }

  /** log I(N, E), eq. 1. */
  log_intrinsic(log_n, log_e) {
    const counted = this.delay.log_counted(log_e);
    const x = Math.log(this.nu) - this.alpha_N * (log_n - this.m);
    const y = Math.log1p(-this.nu) - this.alpha_E * (counted - (this.log_c0 - this.m));
    return this.log_c0 - logaddexp(x, y) / this.beta;
  }

  E_inf(log_i) {
    return Math.exp(this.delay.log_elapsed(this.log_E_c + (1 - this.nu) * log_i));
  }

  N_inf(log_i) {
    return Math.exp(this.log_N_c + this.nu * log_i);
  }

  get width_gain() {
    return Math.exp(-Math.log1p(-this.nu) / this.alpha_E);
  }

  log_interactions_for(log_n, log_i) {
    const log_s = -this.beta * log_i;
    const log_x = this.alpha_N * (this.log_N_c - log_n);
    const log_y = log_s + Math.log(-Math.expm1(Math.min(log_x - log_s, 0)));
    return this.delay.log_elapsed(this.log_E_c - log_y / this.alpha_E);
  }

  log_N_opt(log_c) {
    if (!this.delay.exists) return this.m + this.nu * (log_c - this.log_c0);
    return log_c - this._on_frontier(log_c, (log_e) => this._log_n_of(log_e) + log_e);
  }

  log_best_intrinsic(log_c) {
    if (!this.delay.exists) return log_c;
    const log_n = this.log_N_opt(log_c);
    return this.log_intrinsic(log_n, log_c - log_n);
  }

  log_least_compute(log_i) {
    if (!this.delay.exists) return log_i;
    const log_e = this._on_frontier(log_i, (x) => this.log_intrinsic(this._log_n_of(x), x));
    return this._log_n_of(log_e) + log_e;
  }

  _log_n_of(log_e) {
    const counted = this.delay.log_counted(log_e);
    const slope = this.delay.log_slope(log_e);
    const log_n = this.m + this.nu * (counted - this.log_c0) - slope / this.k;
    return Number.isNaN(log_n) ? -Infinity : log_n / (1 - this.nu);
  }

  /** log E where a quantity that rises along the frontier of a delayed law has its target. */
  _on_frontier(target, quantity) {
    const excess = (log_e) => {
      const found = quantity(log_e) - target;
      return Number.isNaN(found) ? -1 : found; // before a sharp start nothing is optimal
    };
    let low = Math.log(this.delay.steps);
    let high = low + 1;
    for (let step = 1; excess(low) > 0; step *= 2) low -= step;
    for (let step = 1; excess(high) < 0; step *= 2) high += step;
    return root(excess, low, high);
  }

  /** {log_n, log_e} that reach I at the least cost E (N + env_cost). */
  optimum_with_env_cost(log_i, env_cost) {
    const log_s = -this.beta * log_i;
    const ratio = this.alpha_N / this.alpha_E;
    const excess = (log_n) => {
      let paid = 1 + env_cost * Math.exp(-log_n);
      if (this.delay.exists) paid *= Math.exp(-this.delay.log_slope(this.log_interactions_for(log_n, log_i)));
      return this.alpha_N * (this.log_N_c - log_n) + Math.log1p(ratio * paid) - log_s;
    };
    const low = this.log_N_opt(this.log_least_compute(log_i)); // an expensive environment only makes N larger
    let best = low;
    if (env_cost > 0 && excess(low) > 0) {
      let high = low + 1;
      while (excess(high) > 0) high = low + 2 * (high - low);
      best = root((log_n) => -excess(log_n), low, high);
    }
    return { log_n: best, log_e: this.log_interactions_for(best, log_i) };
  }

  /** The cost E (N + env_cost) of N_opt(I) over the least one. */
  env_cost_overspend(log_i, env_cost) {
    const best = this.optimum_with_env_cost(log_i, env_cost);
    const log_c = this.log_least_compute(log_i);
    const log_n = this.log_N_opt(log_c);
    const paid = (x) => Math.log(Math.exp(x.log_n) + env_cost) + x.log_e;
    return Math.exp(paid({ log_n, log_e: log_c - log_n }) - paid(best));
  }
}
