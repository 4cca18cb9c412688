// The form of the calculator: reads a question, asks forecast.js, and writes the answer as a table.

const [LEAST, MOST] = [1e-30, 1e60]; // rlscale.analysis.theory.quantities: nothing real lies beyond

/** A number as people type it (1e9, 2.5e-3, 10^9, 3 x 10^9); null if it is none, or no quantity. */
function typed_number(text, { may_be_zero = false, any = false } = {}) {
  const power = /^(?:(.+?)\s*[×*x]\s*)?10\^(-?\d+)$/;
  const plain = text.trim().replace(/[−–]/g, "-");
  const value = plain === "" ? NaN : Number(plain.replace(power, (_, factor, whole) => `${factor ?? 1}e${whole}`));
  if (any) return Number.isFinite(value) ? value : null;
  return (value >= LEAST && value <= MOST) || (may_be_zero && value === 0) ? value : null;
}

/** A number as one would type it. */
function as_typed(value) {
  const [plain, power] = [String(value), value.toExponential().replace("+", "")];
  return plain.length <= power.length ? plain : power;
}

/** The answer to a question: {error} or {command, forecast} or {command, taken}. */
function answer_to(fit, question) {
  const { budget, value, gpu_flops, utilization, per_param, env_cost } = question;
  const wrong = (what) => ({ error: `${what} must be a positive number, such as 1e9.` });
  if (env_cost === undefined) return { error: "The environment's cost must be 0 or a positive number." };
  if (per_param === undefined) return wrong("The FLOPs for each unit of size and interaction");
  if (value === null) return budget === "return" ? { error: "The return must be a number." } : wrong("The budget");
  if (budget === "return") {
    const { returns } = fit.monotone_map;
    const taken = at_return(fit, value);
    if (taken !== null) return { command: `--return ${as_typed(value)}`, taken };
    const known = `${typeset_number(returns[0], 6)} to ${typeset_number(returns[returns.length - 1], 6)}`;
    return { error: `A return of ${value} lies outside the fitted map, which knows returns from ${known}.` };
  }
  let command = `--${budget} ${as_typed(value)}`;
  let compute = value;
  if (budget !== "compute") {
    if (budget === "gpu-hours") {
      if (gpu_flops === null) return wrong("The GPU's rate");
      if (utilization === null || utilization > 1) return { error: "The utilisation must be above 0 and at most 1." };
      command += ` --gpu-flops ${as_typed(gpu_flops)} --utilization ${as_typed(utilization)}`;
    }
    if (per_param !== null) command += ` --flops-per-param-interaction ${as_typed(per_param)}`;
    compute =
      budget === "flops"
        ? flops_budget(fit, value, per_param)
        : gpu_hours_budget(fit, value, gpu_flops, utilization, per_param);
    if (compute === null) {
      return { error: "These curves state no FLOPs: give the FLOPs for each unit of size and interaction." };
    }
  }
  if (env_cost !== null) command += ` --env-cost ${as_typed(env_cost)}`;
  return { command, forecast: forecast(fit, compute, env_cost) };
}

/** Rows [name, estimate, interval, interval of seeds alone] of an answer. */
function answer_rows(fit, answer, unit) {
  const count = (name, value, intervals, total = {}) => {
    const inner = intervals[name];
    const outer = total[name] ?? inner;
    const write = (ends) => (ends ? interval_text(ends, compact_count) : "unknown");
    return [compact_count(value), write(outer), total[name] ? write(inner) : ""];
  };
  if (answer.taken) {
    const taken = answer.taken;
    const of = (name) => count(name, taken[name], taken.intervals);
    const power = taken.intervals.intrinsic;
    return [
      ["least compute", scientific(taken.intrinsic), power ? interval_text(power, scientific) : "unknown", ""],
      [`optimal size, ${unit}`, ...of("N_opt")],
      ["interactions for it", ...of("E_opt")],
      ["interactions at infinite width", ...of("E_inf")],
      [`${unit} with infinite data`, ...of("N_inf")],
    ];
  }
  const found = answer.forecast;
  const of = (name) => count(name, found[name], found.intervals, found.intervals_total);
  const there = found.return_extrapolated;
  const ends = there ? there.interval : found.intervals.return;
  const star = there ? "*" : "";
  const rows = [
    [`optimal size, ${unit}`, ...of("N_opt")],
    ["interactions for it", ...of("E_opt")],
    [
      "return there",
      typeset_number(there ? there.estimate : found.return, 4) + star,
      ends ? interval_text(ends, typeset_number) : "unknown",
      "",
    ],
  ];
  if (found.N_with_env_cost !== undefined) {
    const ends_of = found.intervals.overspend;
    rows.push(
      [`best size with the environment's cost, ${unit}`, ...of("N_with_env_cost")],
      ["interactions for it", ...of("E_with_env_cost")],
      [
        "overspend of ignoring that cost",
        `${typeset_number(found.overspend)} times`,
        ends_of ? interval_text(ends_of, typeset_number) : "unknown",
        "",
      ],
    );
  }
  return rows;
}

/** Where an answer lies beside the data, and how far its return can be trusted. */
function place_text({ compute, outside, earlier_ends }) {
  const at = `At C = ${scientific(compute, 3)}`;
  const parts = Object.entries(outside).filter(([, decades]) => decades > 0);
  if (!parts.length) return `${at}, within the data.`;
  const named = parts.map(([name, decades]) => `${name} ${decades.toFixed(1)}`).join(", ");
  const text = `${at}, an extrapolation. Decades outside the data: ${named}.`;
  if (earlier_ends === null) return text;
  const { median_absolute, tested_decades } = earlier_ends;
  return (
    `${text} As far beyond earlier ends of these data, predictions missed returns by ` +
    `${typeset_number(median_absolute, 2)} (median); tests reach ${tested_decades.toFixed(1)} decades.`
  );
}

function start_calculator(form, fit, { unit, identified }) {
  const field = (name) => form.elements.namedItem(name);
  const output = form.querySelector("output");
  const read = () => {
    const budget = field("budget").value;
    const number = (name, how) => typed_number(field(name).value, how);
    // Empty or hidden: not asked for (null); no number: undefined.
    const optional = (name, budgets, how) =>
      field(name).value.trim() === "" || !budgets.includes(budget) ? null : (number(name, how) ?? undefined);
    return {
      budget,
      value: number("value", { any: budget === "return" }),
      gpu_flops: number("gpu_flops"),
      utilization: number("utilization"),
      per_param: optional("per_param", ["flops", "gpu-hours"]),
      env_cost: optional("env_cost", ["compute", "flops", "gpu-hours"], { may_be_zero: true }),
    };
  };
  const show = () => {
    const question = read();
    for (const label of form.querySelectorAll("[data-for]")) {
      label.hidden = !label.dataset.for.split(" ").includes(question.budget);
    }
    const answer = answer_to(fit, question);
    output.replaceChildren(...(answer.error ? [paragraph(answer.error, "wrong")] : written(answer)));
  };
  const written = (answer) => {
    const table = document.createElement("table");
    table.innerHTML =
      "<caption>The answer</caption><thead><tr><th scope='col'></th><th scope='col'>estimate</th><th scope='col'></th>" +
      "<th scope='col'>of seeds alone</th></tr></thead><tbody></tbody>";
    table.tHead.rows[0].cells[2].textContent = `${Math.round(100 * fit.level)}% interval`;
    for (const [name, ...cells] of answer_rows(fit, answer, unit)) {
      const row = table.tBodies[0].insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head);
      for (const text of cells) row.insertCell().textContent = text;
    }
    const notes = [];
    if (answer.forecast) {
      notes.push(paragraph(place_text(answer.forecast)));
      if (answer.forecast.return_extrapolated) {
        notes.push(paragraph("* The increasing map is continued beyond the measured returns."));
      }
    }
    if (!identified) {
      notes.push(paragraph("These curves do not determine the exponents: do not rely on these numbers.", "wrong"));
    }
    const command = document.createElement("code");
    command.textContent = `rlscale forecast FIT.json ${answer.command}`;
    const same = paragraph("The same from a shell: ");
    same.append(command);
    const wide = document.createElement("div");
    wide.className = "scroll";
    wide.append(table);
    return [wide, ...notes, same];
  };
  let waiting = null;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 150);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  form.hidden = false;
  show();
}

function paragraph(text, kind = "") {
  const made = document.createElement("p");
  made.textContent = text;
  made.className = kind;
  return made;
}
