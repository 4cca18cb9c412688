// What runs when the page is there: the charts and the calculator. Without scripts the page shows print figures.

const charts_of_page = page_data("chart-data");
const fit_of_page = page_data("calculator-data");
const fit = fit_of_page === null ? null : new Fit(fit_of_page);
if (fit !== null) start_calculator(document.getElementById("calculator-form"), fit, fit_of_page);
const charts = charts_of_page === null ? [] : start_charts(charts_of_page);

/** For whoever opens the console of the page, and for tests of it. */
window.rlscale = {
  fit,
  charts,
  read_fit: (data) => new Fit(unpacked(data)),
  answer_to,
  forecast,
  at_return,
  flops_budget,
  gpu_hours_budget,
  typed_number,
  compact_count,
  scientific,
  typeset_number,
};
