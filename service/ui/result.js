// What the page shows of an answer.

import { curlCommand } from "./curl.js";
import { key } from "./key.js";

const element = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1 });
const milliseconds = (value) => `${value < 100 ? value.toPrecision(2) : value.toFixed()}\u00a0ms`;

/** Say that there is no picture yet. */
export function showNothing() {
  element("error").textContent = "";
  element("verdict").textContent = "No picture yet";
}

/** Say what went wrong, in place of any answer. */
export function showError(message) {
  element("details").hidden = true;
  element("verdict").textContent = "";
  element("error").textContent = message;
}

/**
 * Show an answer.
 *
 * @param {File} file the picture
 * @param {boolean} onDisk whether the user has it on disk under that name
 * @param found what `ask` returned
 */
export function showAnswer(file, onDisk, { answer, times, seen, device, query }) {
  element("error").textContent = "";
  const caution = answer.input?.unusual ? " (unusual)" : "";
  element("verdict").textContent = `${answer.label}${caution}, ${percent.format(answer.confidence)}`;
  showPicture(element("given"), file);
  showPicture(element("seen"), seen);
  element("not-shown").hidden = true;
  element("preparation").textContent = preparation(answer.preprocessing);
  element("unusual").textContent = unusual(answer.input);
  element("bars").replaceChildren(...bars(answer));
  element("latency").textContent = latency(times);
  element("model").textContent = `${answer.model.name} ${answer.model.version}`;
  element("device").textContent = device;
  element("command").textContent = curlCommand(
    file.name,
    new URL(`./classify${query}`, document.baseURI).href,
    key() !== null,
  );
  offerDownload(file, onDisk);
  element("copied").textContent = "";
  element("details").hidden = false;
}

/** Show a file in an img, and forget the one that was there. */
function showPicture(img, file) {
  URL.revokeObjectURL(img.src);
  img.hidden = false;
  img.src = URL.createObjectURL(file);
}

/** A browser without a decoder for a format that the service takes (TIFF) says so. */
export function tellWhereNotShown() {
  element("given").addEventListener("error", () => {
    element("given").hidden = true;
    element("not-shown").hidden = false;
  });
}

function preparation({ mode, negated, trimmed }) {
  if (mode === "raw") return "Preparation: raw, nothing negated or trimmed.";
  if (mode === "resize") return "Preparation: squeezed to the model's size.";
  if (mode === "center-crop") return "Preparation: resized, and cut to its centre.";
  const negation = negated ? "negated, its background removed" : "not negated";
  return `Preparation: photo, ${trimmed ? "edges trimmed" : "nothing to trim"}, ${negation}.`;
}

/** Empty for an image like the training set's, and if the input is not monitored. */
function unusual(input) {
  if (!input?.unusual) return "";
  return `Unusual for this model (shift ${input.shift.toFixed(1)}): ${input.hint}.`.replace("?.", "?");
}

function bars({ label, probabilities }) {
  return Object.entries(probabilities).map(([name, probability], index) => {
    const row = document.createElement("tr");
    row.classList.toggle("best", name === label);
    const heading = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
    heading.id = `class-${index}`;
    const bar = Object.assign(document.createElement("progress"), { max: 1, value: probability });
    bar.setAttribute("aria-labelledby", heading.id);
    row.append(heading, cell(bar), cell(percent.format(probability)));
    return row;
  });
}

function cell(content) {
  const found = document.createElement("td");
  found.append(content);
  return found;
}

function latency({ roundTrip, total, decode, inference }) {
  const whole = `${milliseconds(roundTrip)} round trip`;
  if (total === undefined) return whole; // a proxy dropped the header
  const parts = `decoding ${milliseconds(decode)}, inference ${milliseconds(inference)}`;
  return `${whole}; ${milliseconds(total)} in the service (${parts})`;
}

/** What is on no disk yet must be saved before curl can send it. */
function offerDownload(file, onDisk) {
  const link = element("download");
  link.hidden = onDisk;
  link.href = element("given").src;
  link.download = file.name;
  link.textContent = `Save ${file.name}`;
}
