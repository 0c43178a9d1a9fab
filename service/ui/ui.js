// The page: every way to give a picture ends in `classify`.

import { drawOn } from "./drawing.js";
import { askForKey } from "./key.js";
import { showModel } from "./model.js";
import { showAnswer, showError, showNothing, tellWhereNotShown } from "./result.js";
import { ask, KeyNeeded, ServiceError } from "./service.js";

const element = (id) => document.getElementById(id);

let picture = null; // the latest one: { file, onDisk }, or a promise of it
let shown = null; // what `showModel` returned, once it did
let pending = new AbortController();

/** Classify the latest picture; what comes late for an earlier one is dropped. */
async function classify(latest) {
  picture = latest;
  pending.abort();
  pending = new AbortController();
  const { signal } = pending;
  element("result").setAttribute("aria-busy", "true");
  const show = await answer(latest, signal);
  if (signal.aborted) return;
  element("result").setAttribute("aria-busy", "false");
  show();
}

/** Ask the service; returns what shows its answer, or what shows why there is none. */
async function answer(latest, signal) {
  try {
    const { file, onDisk } = await latest;
    const { name, topK } = await modelShown();
    const found = await ask(file, name, element("mode").value, topK, signal);
    return () => showAnswer(file, onDisk, found);
  } catch (error) {
    return () => showFailure(error);
  }
}

/** Say what went wrong; where a key is needed, ask for it, and then try again. */
function showFailure(error) {
  const known = error instanceof ServiceError;
  showError(known ? error.message : `The page failed: ${error.message}`);
  if (error instanceof KeyNeeded) askForKey(picture === null ? start : () => classify(picture));
}

async function modelShown() {
  shown ??= await showModel(element("model-choice").value);
  return shown;
}

/** Show the model, and nothing else before there is a picture. */
async function start() {
  const errorBefore = element("error").textContent;
  try {
    await modelShown();
    // What went wrong meanwhile, such as a drop of no file, stays.
    if (picture === null && element("error").textContent === errorBefore) showNothing();
  } catch (error) {
    if (picture === null) showFailure(error);
  }
}

element("file").addEventListener("change", ({ target }) => {
  if (target.files.length === 1) classify({ file: target.files[0], onDisk: true });
  target.value = ""; // so that choosing the same file again is a change
});

document.addEventListener("paste", ({ clipboardData }) => {
  const [file] = clipboardData.files;
  if (file) classify({ file, onDisk: false });
  else showError("The clipboard holds no picture: copy one first, or choose a file.");
});

const root = document.documentElement;
document.addEventListener("dragover", (event) => {
  event.preventDefault(); // or the browser would leave the page for the picture
  root.classList.add("dragging");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (relatedTarget === null) root.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  root.classList.remove("dragging");
  const [file] = event.dataTransfer.files;
  if (file) classify({ file, onDisk: true });
  else showError("What was dropped is not a file: drop a picture, or choose one.");
});

element("samples").addEventListener("sample", ({ detail }) => classify({ file: detail, onDisk: false }));

const clear = drawOn(element("canvas"), element("pen"), classify);
element("clear").addEventListener("click", clear);

element("model-choice").addEventListener("change", () => {
  shown = null;
  if (picture) classify(picture);
  else start();
});

element("mode").addEventListener("change", () => {
  if (picture) classify(picture);
});

element("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(element("command").textContent);
    element("copied").textContent = "Copied.";
  } catch {
    // Browsers keep the clipboard from pages that came over plain HTTP from another host.
    getSelection().selectAllChildren(element("command"));
    element("copied").textContent = "Selected: press Ctrl+C.";
  }
});

tellWhereNotShown();
start();
