// Numbers as text, as rlscale.analysis.formatting.numbers writes them; and the arrays that Python packs.

const COUNT_UNITS = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A number of `digits` significant figures, without a power of ten. */
function significant(value, digits) {
  return with_minus_sign(String(Number(value.toPrecision(digits))));
}

function with_minus_sign(text) {
  return text.replace(/-(?=\d)/g, "−");
}

/** A count with a unit of thousands. */
function compact_count(value, digits = 3) {
  if (value >= 1e15 || (value > 0 && value < 1e-4)) return scientific(value, digits);
  for (const [limit, unit] of COUNT_UNITS) {
    if (value >= 0.9995 * limit) return significant(value / limit, digits) + unit;
  }
  return significant(value, digits);
}

/** A power of ten. */
function scientific(value, digits = 2) {
  const [factor, exponent] = value.toExponential(digits - 1).split("e");
  const shown = factor.includes(".") ? factor.replace(/\.?0+$/, "") : factor;
  const power = `10${superscript(Number(exponent))}`;
  return shown === "1" ? power : `${with_minus_sign(shown)} × ${power}`;
}

function superscript(whole) {
  return String(whole).replace("-", "⁻").replace(/\d/g, (digit) => SUPERSCRIPTS[digit]);
}

/** Three significant figures, as a power of ten where a decimal would be long. */
function typeset_number(value, digits = 3) {
  const size = Math.abs(value);
  return size === 0 || (size >= 1e-4 && size < 1e4) ? significant(value, digits) : scientific(value, digits);
}

function interval_text([low, high], write) {
  return `${write(low)} to ${write(high)}`;
}

/** Bytes of a text in base64; numbers in them are little-endian, as on all machines with a browser. */
function bytes_of(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

/** Data with every packed array in it as an array of doubles. */
function unpacked(data) {
  if (Array.isArray(data)) return data.map(unpacked);
  if (data === null || typeof data !== "object") return data;
  if (typeof data.float64 === "string") return Array.from(new Float64Array(bytes_of(data.float64)));
  if (typeof data.float32 === "string") return Array.from(new Float32Array(bytes_of(data.float32)));
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, unpacked(value)]));
}

/** What Python left in the page under an id; null if it left nothing. */
function page_data(id) {
  const found = document.getElementById(id);
  return found === null ? null : unpacked(JSON.parse(found.textContent));
}
