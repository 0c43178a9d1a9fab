// What the page asks of the service: /ui/model, /classify, /ui/seen and /readyz.

import { key } from "./key.js";

/** The service refused, failed or could not be reached; the message is for the reader. */
export class ServiceError extends Error {}

/** The service asks for a key, or does not know the one that it got. */
export class KeyNeeded extends ServiceError {}

/** Fetch what the page says of a model; an empty name stands for the default model. */
export async function describe(name) {
  const query = name ? `?${new URLSearchParams({ model: name })}` : "";
  return (await send(`./ui/model${query}`, {})).json();
}

/**
 * Classify a picture and fetch all that there is to say about it.
 *
 * @param {File} file the picture
 * @param {string | null} model the model's name; null for the default model
 * @param {string} mode auto, raw or photo
 * @param {number | null} topK how many classes to ask for; null for all
 * @param {AbortSignal} signal ends it
 * @returns the answer of /classify, the times in ms, the PNG that the model saw, and the device
 * @throws {KeyNeeded} the user has to give another key, or one at all
 * @throws {ServiceError} with the service's own words, where it had any
 */
export async function ask(file, model, mode, topK, signal) {
  const options = new URLSearchParams();
  if (model !== null) options.set("model", model);
  if (mode !== "auto") options.set("mode", mode);
  if (topK !== null) options.set("top_k", topK);
  const query = options.size ? `?${options}` : "";
  const start = performance.now();
  const response = await send(`./classify${query}`, form(file), signal);
  const answer = await response.json();
  const times = { roundTrip: performance.now() - start, ...serverTiming(response) };
  // Asked afterwards, so that the round trip above is that of one request alone.
  const [seen, ready] = await Promise.all([
    send(`./ui/seen${query}`, form(file), signal).then((found) => found.blob()),
    send("./readyz", { signal }).then((found) => found.json()),
  ]);
  return { answer, times, seen, device: device(ready), query };
}

function form(file) {
  const body = new FormData();
  body.set("image", file);
  return { method: "POST", body };
}

async function send(path, options, signal) {
  const headers = key() === null ? {} : { Authorization: `Bearer ${key()}` };
  const response = await fetch(path, { ...options, headers, signal }).catch((error) => {
    if (signal?.aborted) throw error;
    throw new ServiceError(
      "The service did not answer: it is not running, or cannot be reached from here.",
    );
  });
  if (response.status === 401) throw new KeyNeeded(keyNeeded());
  if (!response.ok) throw new ServiceError(await reason(response));
  return response;
}

function keyNeeded() {
  return key() === null
    ? "This service asks for an API key."
    : "The service does not know this API key: give another.";
}

async function reason(response) {
  const text = await response.text();
  try {
    return `${JSON.parse(text).error} (HTTP ${response.status})`;
  } catch {
    // Not the service's own: a proxy in front of it answered.
    return `HTTP ${response.status} ${response.statusText}`;
  }
}

/** The durations of a Server-Timing header, in ms, by name. */
function serverTiming(response) {
  const header = response.headers.get("Server-Timing") ?? "";
  const found = [...header.matchAll(/([\w-]+);dur=([\d.]+)/g)];
  return Object.fromEntries(found.map(([, name, duration]) => [name, Number(duration)]));
}

function device(ready) {
  return `${ready.device.toUpperCase()} (${ready.execution_provider})`;
}
