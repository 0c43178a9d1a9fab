// What the page shows of the model that is served: its name, its classes, its samples.

import { describe } from "./service.js";

const element = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const SHOWN_CLASSES = 20;

const MODES = {
  auto: () => "auto",
  raw: (size) => `raw: squeezed to ${size}`,
  photo: () => "photo: background removed, negated, trimmed, centred",
};

/**
 * Fetch a model, and show what the page needs of it.
 *
 * @param {string} name empty for the default model
 * @returns its name, or null for the default model, and how many classes to ask for (null: all)
 */
export async function showModel(name) {
  const model = await describe(name);
  const [defaultName] = model.models;
  element("model-choice").replaceChildren(...model.models.map((one) => new Option(one, one)));
  element("model-choice").value = model.name;
  element("with-models").hidden = model.models.length === 1;
  const { channels, height, width } = model.image;
  const size = `${height} × ${width}`;
  document.title = `${model.name}: try it`;
  element("name").textContent = model.name;
  element("purpose").textContent = purpose(model.labels, size);
  element("samples").replaceChildren(...model.samples.map(sampleOf));
  element("with-samples").hidden = model.samples.length === 0;
  element("with-drawing").hidden = channels !== 1;
  element("mode").replaceChildren(...model.modes.map((mode) => new Option(MODES[mode](size), mode)));
  element("with-modes").hidden = model.modes.length === 1;
  element("mode-note").textContent = `auto takes a grey picture of ${size} as raw, and any other as photo.`;
  element("seen").alt = `The ${height} by ${width} pixels that the model saw`;
  element("seen-size").textContent = `What the model saw: ${size}`;
  return {
    name: model.name === defaultName ? null : model.name,
    topK: model.labels.length > SHOWN_CLASSES ? SHOWN_CLASSES : null,
  };
}

function purpose(labels, size) {
  const named = labels.slice(0, SHOWN_CLASSES).join(", ");
  const more = labels.length > SHOWN_CLASSES ? `, and ${number.format(labels.length - SHOWN_CLASSES)} more` : "";
  return `Which of ${number.format(labels.length)} classes is this? ${named}${more}. The model sees ${size} pixels.`;
}

/** A button with a sample; its picture is a file named after its class. */
function sampleOf({ label, png }) {
  const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
  const name = label.toLowerCase().replace(/[^\p{L}\p{N}-]+/gu, "_").replace(/^_|_$/g, "");
  const file = new File([bytes], `${name || "sample"}.png`, { type: "image/png" });
  const image = Object.assign(new Image(), { src: URL.createObjectURL(file), alt: label });
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.append(image);
  button.addEventListener("click", () => {
    button.dispatchEvent(new CustomEvent("sample", { bubbles: true, detail: file }));
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}
